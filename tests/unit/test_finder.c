/* SPDX-License-Identifier: Apache-2.0 */
/* The finder of serial devices, on a tree that looks like /sys and /dev. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "list_links.h"
#include "radio/finder.h"
#include "unit/suite.h"

static char root[64];

/* Runs a command in the tree. */
__attribute__((format(printf, 1, 2))) static void shell(const char *format, ...)
{
    char command[1024];
    const int at = snprintf(command, sizeof command, "cd %s && ", root);
    va_list args;
    va_start(args, format);
    vsnprintf(command + at, sizeof command - (size_t)at, format, args);
    va_end(args);
    ck_assert_int_eq(system(command), 0); /* NOLINT(cert-env33-c): a test's own tree */
}

/* A USB device on port `usb` ("1-1") with one tty. */
static void plug(const char *usb, const char *tty, const char *vid, const char *pid,
                 const char *product, const char *by_id)
{
    shell("mkdir -p sys/devices/pci0/usb1/%s/%s:1.0/%s sys/class/tty/%s", usb, usb, tty, tty);
    shell("cd sys/devices/pci0/usb1/%s && echo %s >idVendor && echo %s >idProduct && "
          "echo '%s' >product && echo ACME >manufacturer && echo 00 >%s:1.0/bInterfaceNumber",
          usb, vid, pid, product, usb);
    shell("ln -s ../../../devices/pci0/usb1/%s/%s:1.0/%s sys/class/tty/%s/device", usb, usb, tty,
          tty);
    shell("touch dev/%s", tty);
    if (by_id != NULL)
        shell("ln -s ../../%s dev/serial/by-id/%s", tty, by_id);
}

static void setup(void)
{
    char made[64] = "/tmp/sennet-finder-XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(made));
    char resolved[4096];
    ck_assert_ptr_nonnull(realpath(made, resolved));
    snprintf(root, sizeof root, "%.60s", resolved);
    shell("mkdir -p sys/class/tty dev/serial/by-id");
}

static void teardown(void)
{
    shell("rm -rf %s", root);
}

START_TEST(a_stick_is_recognised_by_its_name)
{
    struct found_port ports[FINDER_MAX];
    plug("1-1", "ttyUSB0", "10c4", "ea60", "Sonoff Zigbee 3.0 USB Dongle Plus",
         "usb-ITead_Sonoff_Zigbee_3.0_USB_Dongle_Plus_0a1b-if00-port0");
    plug("1-2", "ttyUSB1", "10c4", "ea60", "CP2102N USB to UART Bridge Controller",
         "usb-Silicon_Labs_CP2102N-if00-port0");
    plug("1-3", "ttyACM0", "1cf1", "0030", "ConBee II", NULL);
    ck_assert_uint_eq(finder_list(root, ports, FINDER_MAX), 3);
    ck_assert_ptr_nonnull(strstr(ports[0].device, "/dev/ttyACM0"));
    ck_assert_str_eq(ports[0].driver, "deconz");
    ck_assert_str_eq(ports[0].by_id, "");
    ck_assert_int_eq(ports[0].sure, FINDER_CERTAIN);
    ck_assert_str_eq(ports[1].driver, "znp");
    ck_assert_str_eq(ports[1].name, "Sonoff ZBDongle-P");
    ck_assert_uint_eq(ports[1].baud, 115200);
    ck_assert_uint_eq(ports[1].vid, 0x10C4);
    ck_assert_str_eq(ports[1].manufacturer, "ACME");
    ck_assert_ptr_null(ports[2].driver); /* a cable that could be anything */
    ck_assert_int_eq(ports[2].sure, FINDER_NO_IDEA);
}

END_TEST

START_TEST(names_of_relatives_are_told_apart)
{
    static const struct {
        const char *by_id, *driver;
        bool rtscts;
    } known[] = {
        {"usb-ITEAD_SONOFF_Zigbee_3.0_USB_Dongle_Plus_V2_2022-if00-port0", "ezsp",   false},
        {"usb-Itead_Sonoff_Zigbee_3.0_USB_Dongle_Plus_V2_ab-if00-port0",   "ezsp",   false},
        {"usb-SONOFF_SONOFF_Dongle_Plus_CC2674P10_12-if00-port0",          "znp",    false},
        {"usb-Nabu_Casa_SkyConnect_v1.0_aa-if00-port0",                    "ezsp",   true },
        {"usb-Nabu_Casa_ZBT-2_bb-if00",                                    "ezsp",   true },
        {"usb-dresden_elektronik_ConBee_III_DE03-if00-port0",              "deconz", false},
        {"usb-Texas_Instruments_CC2652_cc-if00-port0",                     "znp",    false},
        {"usb-Digi_XBee_Adapter-if00-port0",                               "xbee",   false},
    };

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        struct found_port p = {.usb = true, .vid = 0x0403, .pid = 0x6015};
        snprintf(p.by_id, sizeof p.by_id, "/dev/serial/by-id/%s", known[i].by_id);
        finder_guess(&p);
        ck_assert_msg(p.driver != NULL && strcmp(p.driver, known[i].driver) == 0, "%s: %s",
                      known[i].by_id, p.driver != NULL ? p.driver : "nothing");
        ck_assert_msg(p.rtscts == known[i].rtscts, "%s: rtscts", known[i].by_id);
        ck_assert_int_eq(p.sure, FINDER_CERTAIN);
    }
}

END_TEST

START_TEST(a_device_is_identified_through_its_links)
{
    char link[256];
    struct found_port p;
    plug("1-3", "ttyACM0", "1cf1", "0030", "ConBee II", "usb-dresden_ConBee_II_DE1-if00");
    snprintf(link, sizeof link, "%s/dev/serial/by-id/usb-dresden_ConBee_II_DE1-if00", root);
    ck_assert(finder_identify(root, link, &p));
    ck_assert_str_eq(p.driver, "deconz");
    ck_assert(!finder_identify(root, "/dev/null", &p));
    ck_assert(!finder_identify(root, "/no/such/device", &p));
}

END_TEST

START_TEST(consoles_and_unwired_ports_are_no_devices)
{
    struct found_port ports[FINDER_MAX];
    shell("mkdir -p sys/class/tty/tty0 sys/class/tty/ttyS0 sys/devices/serial8250");
    shell("ln -s ../../../devices/serial8250 sys/class/tty/ttyS0/device");
    shell("echo 0 >sys/class/tty/ttyS0/type");
    ck_assert_uint_eq(finder_list(root, ports, FINDER_MAX), 0);
    shell("echo 4 >sys/class/tty/ttyS0/type");
    ck_assert_uint_eq(finder_list(root, ports, FINDER_MAX), 1);
    ck_assert(!ports[0].usb);
    ck_assert_ptr_null(ports[0].driver);
}

END_TEST

START_TEST(the_list_tells_what_to_write_into_the_configuration)
{
    char text[4096] = "";
    FILE *out = fmemopen(text, sizeof text, "w");
    ck_assert_int_eq(list_links(root, out), 0);
    fclose(out);
    ck_assert_ptr_nonnull(strstr(text, "No serial device is there"));
    plug("1-1", "ttyUSB0", "10c4", "ea60", "SkyConnect v1.0",
         "usb-Nabu_Casa_SkyConnect_v1.0_aa-if00-port0");
    out = fmemopen(text, sizeof text, "w");
    ck_assert_int_eq(list_links(root, out), 0);
    fclose(out);
    ck_assert_ptr_nonnull(strstr(text, "/dev/ttyUSB0\n"));
    ck_assert_ptr_nonnull(strstr(text, "10c4:ea60  ACME SkyConnect v1.0"));
    ck_assert_ptr_nonnull(strstr(text, "driver = ezsp\n"));
    ck_assert_ptr_nonnull(strstr(text, "by-id/usb-Nabu_Casa_SkyConnect_v1.0_aa-if00-port0\n"));
    ck_assert_ptr_nonnull(strstr(text, "flow_control = rtscts\n"));
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("finder");
    TCase *tc = tcase_create("finder");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_stick_is_recognised_by_its_name);
    tcase_add_test(tc, names_of_relatives_are_told_apart);
    tcase_add_test(tc, a_device_is_identified_through_its_links);
    tcase_add_test(tc, consoles_and_unwired_ports_are_no_devices);
    tcase_add_test(tc, the_list_tells_what_to_write_into_the_configuration);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
