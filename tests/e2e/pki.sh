#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Certificates for the tests of TLS, good and bad ones, into a directory that exists.
#
#   pki.sh DIRECTORY
#
#   ca.pem           the authority; other-ca.pem another one that nobody trusts
#   server.pem       localhost, 127.0.0.1, ::1                      each with its .key
#   expired.pem      the same, until 2020-01-02
#   early.pem        the same, from 2099-01-01 on
#   wrong-name.pem   broker.example, other.example
#   revoked.pem      localhost; on crl.pem
#   stranger.pem     localhost, of the other authority
#   self-signed.pem  localhost, of nobody's
#   client.pem       the gateway; client-*.pem: expired, revoked, stranger
#   client-locked.key is client.key behind the password in client.password
set -eu

cd "$1"
umask 077

config() {
    cat >"$1.cnf" <<END
[ca]
default_ca = here
[here]
database = $1.index
serial = $1.serial
crlnumber = $1.crlnumber
new_certs_dir = .
certificate = $1.pem
private_key = $1.key
default_md = sha256
default_days = 30
default_crl_days = 30
policy = any
unique_subject = no
copy_extensions = copy
[any]
commonName = supplied
[req]
distinguished_name = nothing
[nothing]
END
    : >"$1.index"
    echo 1000 >"$1.serial"
    echo 1000 >"$1.crlnumber"
}

authority() {
    config "$1"
    openssl req -x509 -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
        -keyout "$1.key" -out "$1.pem" -subj "/CN=$2" -config "$1.cnf" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=keyCertSign,cRLSign
}

# certificate NAME AUTHORITY COMMON-NAME ALTERNATIVE-NAMES [-startdate ...] [-enddate ...]
certificate() {
    name=$1
    by=$2
    subject=$3
    names=$4
    shift 4
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
        -keyout "$name.key" -out "$name.csr" -subj "/CN=$subject" -config "$by.cnf" \
        -addext "subjectAltName=$names"
    openssl ca -batch -notext -config "$by.cnf" -in "$name.csr" -out "$name.pem" "$@"
    rm "$name.csr"
}

here=DNS:localhost,IP:127.0.0.1,IP:::1
past="-startdate 20190101000000Z -enddate 20200102000000Z"
future="-startdate 20990101000000Z -enddate 20990201000000Z"
{
    authority ca "Sennet Test CA"
    authority other-ca "Stranger CA"
    certificate server ca localhost $here
    # shellcheck disable=SC2086 # two options and their values
    certificate expired ca localhost $here $past
    # shellcheck disable=SC2086
    certificate early ca localhost $here $future
    certificate wrong-name ca broker.example DNS:broker.example,DNS:other.example
    certificate revoked ca localhost $here
    certificate stranger other-ca localhost $here
    openssl req -x509 -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
        -keyout self-signed.key -out self-signed.pem -subj /CN=localhost -config ca.cnf \
        -addext "subjectAltName=$here"
    certificate client ca gateway DNS:gateway.example
    # shellcheck disable=SC2086
    certificate client-expired ca gateway DNS:gateway.example $past
    certificate client-revoked ca gateway DNS:gateway.example
    certificate client-stranger other-ca gateway DNS:gateway.example
    openssl ca -config ca.cnf -revoke revoked.pem
    openssl ca -config ca.cnf -revoke client-revoked.pem
    openssl ca -config ca.cnf -gencrl -out crl.pem
    echo "correct horse" >client.password
    openssl ec -aes256 -in client.key -out client-locked.key -passout file:client.password
} >pki.log 2>&1 || {
    cat pki.log >&2
    exit 1
}
