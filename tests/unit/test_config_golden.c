/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/golden/config: NAME.conf is loaded, and what is said must be NAME.err to the letter (none:
 * nothing may be said). Inputs that editors and git would spoil are made here, and have their .err
 * there as well. Every message of the table must occur in some .err.
 *
 * SENNET_GOLDEN_UPDATE=1 writes the .err files anew: read the difference before committing it.
 */
#include <dirent.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>

#include "base/error.h"

#include "config_priv.h"
#include "unit/suite.h"

enum { PATH_ROOM = 512 };

static char work_dir[] = "/tmp/sennet-golden-XXXXXX";

/* ---- inputs that are made -------------------------------------------------------------------- */

static const char good_part[] = "[broker]\naddress = 127.0.0.1\n"
                                "[link a]\ndriver = udp\nlisten = 127.0.0.1:1884\n";

#define RAW(text) (text), sizeof(text) - 1

static const struct {
    const char *name;
    const char *head; /* before good_part */
    size_t head_len;
    const char *repeated; /* behind it, so many times */
    unsigned times;
} made[] = {
    {"made-bom-crlf.conf",      RAW("\xEF\xBB\xBF[gateway]\r\nid = 7\r\n\r\n# c\r\nid = 8\r\n"), "",                        0    },
    {"made-utf16.conf",         RAW("\xFF\xFE[\0g\0"),                                           "",                        0    },
    {"made-utf16-be.conf",      RAW("\xFE\xFF\0[\0g"),                                           "",                        0    },
    {"made-nul.conf",           RAW("[gateway]\nid = 1\0\nkepalive = 1\n"),                      "",                        0    },
    {"made-latin1.conf",
     RAW("# K\xFC"
         "che\n[gateway]\nname = K\xFC"
         "che\nid = 300\n"),
     "",                                                                                                                    0    },
    {"made-control.conf",       RAW("[gateway]\n\303\274 \033[31mid = 1\nid\r= 5\n"),            "",                        0    },
    {"made-no-newline.conf",    RAW(""),                                                         "[topics]\n5 = a\n5 = b",  1    },
    {"made-at-limit.conf",      RAW("[gateway]\nlog_level = "),                                  "",                        0    },
    {"made-too-large.conf",     RAW(""),
     "# some text in a comment, sixty-four octets with its line end\n",                                                     20000},
    {"made-many-sections.conf", RAW(""),                                                         "[client x]\n",            4100 },
    {"made-many-warnings.conf", RAW(""),                                                         "[topics] # id = topic\n", 103  },
    {"made-many-errors.conf",   RAW(""),                                                         "[oops]\n",                130  },
};

enum { N_MADE = sizeof made / sizeof made[0] };

static void make_inputs(void)
{
    for (size_t i = 0; i < N_MADE; i++) {
        FILE *f = fopen(made[i].name, "wb");
        ck_assert_ptr_nonnull(f);
        fwrite(made[i].head, 1, made[i].head_len, f);
        if (strcmp(made[i].name, "made-at-limit.conf") == 0)
            fprintf(f, "%*s\n#%*s\n", CONFIG_LINE_MAX - 12, "info", CONFIG_LINE_MAX, "x");
        fputs(good_part, f);
        for (unsigned k = 0; k < made[i].times; k++)
            fputs(made[i].repeated, f);
        ck_assert_int_eq(fclose(f), 0);
    }
}

/* An include_dir with more files than are allowed. */
static void make_crowd(void)
{
    ck_assert_int_eq(mkdir("crowd.d", 0700), 0);
    for (unsigned i = 0; i <= CONFIG_DROP_INS_MAX; i++) {
        char name[PATH_ROOM];
        snprintf(name, sizeof name, "crowd.d/%03u.conf", i);
        FILE *f = fopen(name, "w");
        ck_assert_ptr_nonnull(f);
        fclose(f);
    }
    FILE *f = fopen("made-crowd.conf", "w");
    ck_assert_ptr_nonnull(f);
    fprintf(f, "%s[gateway]\ninclude_dir = crowd.d\n", good_part);
    fclose(f);
    ck_assert_int_eq(mkdir("unreadable.d", 0700), 0);
    ck_assert_int_eq(mkdir("unreadable.d/a.conf", 0700), 0);
    f = fopen("made-unreadable.conf", "w");
    ck_assert_ptr_nonnull(f);
    fprintf(f, "%s[gateway]\ninclude_dir = unreadable.d\n", good_part);
    fclose(f);
}

/* ---- a copy with known permissions ----------------------------------------------------------- */

static void set_up(void)
{
    char command[PATH_ROOM];
    ck_assert_ptr_nonnull(mkdtemp(work_dir));
    snprintf(command, sizeof command, "cp -r '%s/.' %s", GOLDEN_DIR, work_dir);
    ck_assert_int_eq(system(command), 0);
    ck_assert_int_eq(chdir(work_dir), 0);
    ck_assert_int_eq(system("printf 'correct horse\\r\\n' > secrets/crlf"), 0);
    ck_assert_int_eq(
        system("chmod 600 secrets/* && chmod 600 proxy-login.conf && chmod 644 proxy-open.conf "
               "secrets/open secrets/open.key "
               "secrets/network-key-open"),
        0);
    /* As root's file has it that the daemon's group reads: no warning. */
    ck_assert_int_eq(chmod("secrets/crlf", 0640), 0);
    make_inputs();
    make_crowd();
}

static void tear_down(void)
{
    char command[PATH_ROOM];
    ck_assert_int_eq(chdir("/"), 0);
    snprintf(command, sizeof command, "rm -rf %s", work_dir);
    ck_assert_int_eq(system(command), 0);
}

/* ---- comparing ------------------------------------------------------------------------------- */

/* Everything a file holds; NULL when there is none. */
static char *content(const char *path)
{
    char *text = NULL;
    size_t len = 0;
    unsigned mode = 0;
    return config_read_file(path, CONFIG_FILE_MAX, true, &text, &len, &mode) == 0 ? text : NULL;
}

/* Puts DIR for the directory of this run, WHY for sentences that belong to a driver, and DRIVERS for
 * the list of these. */
static char *normal(const char *said)
{
    static const char driver[] = "can't work: ";
    static const char drivers[] = "this version has ";
    char *out = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&out, &len);
    ck_assert_ptr_nonnull(f);
    while (*said != '\0') {
        if (strncmp(said, work_dir, strlen(work_dir)) == 0) {
            fputs("DIR", f);
            said += strlen(work_dir);
        } else if (strncmp(said, driver, strlen(driver)) == 0) {
            fprintf(f, "%sWHY", driver);
            said += strcspn(said, "\n");
        } else if (strncmp(said, drivers, strlen(drivers)) == 0) {
            fprintf(f, "%sDRIVERS", drivers);
            said += strcspn(said, "\n");
        } else {
            fputc(*said++, f);
        }
    }
    fclose(f);
    return out;
}

static char *load_and_listen(const char *name, int *rc)
{
    char *said = NULL;
    size_t len = 0;
    FILE *errors = open_memstream(&said, &len);
    ck_assert_ptr_nonnull(errors);
    struct config *c = NULL;
    *rc = config_load(name, errors, &c);
    fclose(errors);
    ck_assert_int_eq(*rc == 0, c != NULL);
    config_free(c);
    char *out = normal(said);
    free(said);
    return out;
}

static void error_file(const char *dir, const char *name, char *out)
{
    const int stem = (int)(strlen(name) - strlen(".conf"));
    snprintf(out, PATH_ROOM, "%s/%.*s.err", dir, stem, name);
}

static void check_file(const char *name)
{
    int rc = 0;
    char path[PATH_ROOM];
    char *said = load_and_listen(name, &rc);
    if (getenv("SENNET_GOLDEN_UPDATE") != NULL && said[0] != '\0') {
        error_file(GOLDEN_DIR, name, path);
        FILE *f = fopen(path, "w");
        ck_assert_ptr_nonnull(f);
        fputs(said, f);
        fclose(f);
    }
    error_file(GOLDEN_DIR, name, path);
    char *expected = content(path);
    ck_assert_msg(strcmp(said, expected != NULL ? expected : "") == 0,
                  "%s: is said:\n%s\nexpected:\n%s", name, said, expected);
    const bool bad = expected != NULL && strstr(expected, ": error: ") != NULL;
    ck_assert_msg(rc == (bad ? EXIT_CONFIG : 0), "%s: code %d", name, rc);
    free(expected);
    free(said);
}

START_TEST(every_golden_file_says_what_it_should)
{
    DIR *d = opendir(".");
    ck_assert_ptr_nonnull(d);
    const struct dirent *entry = NULL;
    unsigned n = 0;
    while ((entry = readdir(d)) != NULL) {
        if (fnmatch("*.conf", entry->d_name, 0) != 0)
            continue;
        check_file(entry->d_name);
        n++;
    }
    closedir(d);
    ck_assert_uint_gt(n, 30 + N_MADE);
}

END_TEST

START_TEST(a_file_that_cant_be_read_has_its_own_exit_code)
{
    int rc = 0;
    char *said = load_and_listen("no-such.conf", &rc);
    ck_assert_str_eq(said,
                     "no-such.conf: error: can't read this file: No such file or directory\n");
    ck_assert_int_eq(rc, EXIT_NO_INPUT);
    free(said);
    said = load_and_listen("secrets", &rc);
    ck_assert_str_eq(said, "secrets: error: can't read this file: Is a directory\n");
    ck_assert_int_eq(rc, EXIT_NO_INPUT);
    free(said);
}

END_TEST

/* ---- no message without an example ----------------------------------------------------------- */

/* A pattern of fnmatch() for everything that a message can look like. */
static void pattern_of(const struct config_text *message, char *out, size_t size)
{
    FILE *f = fmemopen(out, size, "w");
    ck_assert_ptr_nonnull(f);
    fprintf(f, "*: %s: ", message->warning ? "warning" : "error");
    for (const char *t = message->text; *t != '\0'; t++) {
        if (t[0] == '{' && t[1] == '}') {
            fputc('*', f);
            t++;
        } else {
            if (strchr("*?[]\\", *t) != NULL)
                fputc('\\', f);
            fputc(*t, f);
        }
    }
    ck_assert_int_eq(fclose(f), 0);
}

static bool mark_messages(const char *text, bool seen[N_CONFIG_MESSAGES])
{
    bool all_known = true;
    char *copy = strdup(text);
    char *rest = copy;
    for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
        bool known = line[0] == '\0';
        for (unsigned m = 0; m < N_CONFIG_MESSAGES; m++) {
            char pattern[PATH_ROOM] = "";
            pattern_of(&config_texts[m], pattern, sizeof pattern);
            if (fnmatch(pattern, line, 0) == 0)
                known = seen[m] = true;
        }
        all_known = all_known && known;
        if (!known)
            printf("not a message of the table: %s\n", line);
    }
    free(copy);
    return all_known;
}

START_TEST(every_message_has_a_golden_example)
{
    bool seen[N_CONFIG_MESSAGES] = {false};
    DIR *d = opendir(GOLDEN_DIR);
    ck_assert_ptr_nonnull(d);
    const struct dirent *entry = NULL;
    while ((entry = readdir(d)) != NULL) {
        char path[PATH_ROOM];
        if (fnmatch("*.err", entry->d_name, 0) != 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", GOLDEN_DIR, entry->d_name);
        char *text = content(path);
        ck_assert_ptr_nonnull(text);
        ck_assert(mark_messages(text, seen));
        free(text);
    }
    closedir(d);
    unsigned missing = 0;
    for (unsigned m = 0; m < N_CONFIG_MESSAGES; m++) {
        if (!seen[m])
            printf("no example of: %s\n", config_texts[m].text);
        missing += !seen[m];
    }
    ck_assert_uint_eq(missing, 0);
}

END_TEST

START_TEST(no_secret_is_ever_said)
{
    DIR *d = opendir(".");
    ck_assert_ptr_nonnull(d);
    const struct dirent *entry = NULL;
    while ((entry = readdir(d)) != NULL) {
        if (fnmatch("*.conf", entry->d_name, 0) != 0)
            continue;
        int rc = 0;
        char *said = load_and_listen(entry->d_name, &rc);
        ck_assert_ptr_null(strstr(said, "correct horse"));
        ck_assert_ptr_null(strstr(said, "hunter2"));
        free(said);
    }
    closedir(d);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("config_golden");
    TCase *files = tcase_create("files");
    tcase_add_unchecked_fixture(files, set_up, tear_down);
    tcase_add_test(files, every_golden_file_says_what_it_should);
    tcase_add_test(files, a_file_that_cant_be_read_has_its_own_exit_code);
    tcase_add_test(files, every_message_has_a_golden_example);
    tcase_add_test(files, no_secret_is_ever_said);
    suite_add_tcase(suite, files);
    return run_suite(suite);
}
