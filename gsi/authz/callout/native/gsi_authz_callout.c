/*
 * The callout library for unmodified Globus services: it carries facts to gsi-authz-server and verdicts back.
 *
 * Named in gsi-authz.conf, loaded by the GridFTP server, the gatekeeper and the GRAM job manager. It holds no policy and
 * parses no certificate. It needs no Globus headers: every Globus and GSSAPI symbol comes from the host process, weak,
 * so that one library loads in all three. No threads, no signal handlers, no static mutable state, no output.
 *
 *     cc -shared -fPIC -O2 -o libgsi_authz_callout.so gsi_authz_callout.c
 *
 * Environment (gsi-authz.conf sets it around each call, "ENV:NAME=value"):
 *     GSI_AUTHZ_SOCKET       the daemon's socket; without it everything is refused
 *     GSI_AUTHZ_SERVER_UID   the uid that the daemon must have (0)
 *     GSI_AUTHZ_TIMEOUT      milliseconds for one question, 1 to 600000 (10000)
 *
 * Fails closed: whatever is not a well-formed permit is an error to the service. The frames are those of
 * gsi/authz/callout/messages.py (docs/wire/authz-callout.md); the C ABI is that of gct: gsi/authz, gsi/gss_assist,
 * gram/jobmanager.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* ---- What the host process brings. ---- */

typedef uint32_t result_t; /* globus_result_t: 0 is success */
typedef struct { size_t length; void *value; } gss_buffer;
typedef struct { uint32_t length; void *elements; } gss_oid;
typedef struct { size_t count; gss_buffer *elements; } gss_buffer_set;
typedef void (*callback_t)(void *arg, void *handle, result_t result);

#define WEAK __attribute__((weak))
extern result_t globus_error_put(void *) WEAK;
extern void *globus_error_construct_error(void *, void *, int, const char *, const char *, int, const char *, ...) WEAK;
extern char globus_i_common_module[] WEAK;
extern char globus_gsi_authz_callout_error_module[] WEAK; /* not in the gatekeeper */
extern char globus_i_gram_jobmanager_callout_error_module[] WEAK;
extern char *globus_rsl_unparse(void *) WEAK;
extern uint32_t gss_inquire_context(uint32_t *, void *, void **, void **, uint32_t *, void *, uint32_t *, int *,
                                    int *) WEAK;
extern uint32_t gss_display_name(uint32_t *, void *, gss_buffer *, void *) WEAK;
extern uint32_t gss_release_name(uint32_t *, void **) WEAK;
extern uint32_t gss_release_buffer(uint32_t *, gss_buffer *) WEAK;
extern uint32_t gss_inquire_sec_context_by_oid(uint32_t *, void *, gss_oid *, gss_buffer_set **) WEAK;
extern uint32_t gss_release_buffer_set(uint32_t *, gss_buffer_set **) WEAK;

enum { AUTHZ_DENIED = 1, AUTHZ_SYSTEM = 3 };                                             /* the callout error module's */
enum { GRAM_SYSTEM = 1, GRAM_DENIED = 2, GRAM_DENIED_JOB_ID = 3, GRAM_DENIED_EXECUTABLE = 4 }; /* the job manager's */

/* ---- The frames: u32 length, u8 version, u8 kind, then fields of u8 tag, u32 length, bytes; big endian. ---- */

enum { VERSION = 1 };
enum { MAP = 1, SERVICE = 2, SESSION = 3, OPERATION = 4, JOB = 5, ANSWER = 128 };
enum {
    T_SERVICE = 1, T_DESIRED = 2, T_BUFFER = 3, T_CERTIFICATE = 4, T_SOURCE = 5, T_TARGET = 6, T_SHARED = 7,
    T_RESUMED = 8, T_ACTION = 16, T_OBJECT = 17, T_FACTS = 18, T_REAL_PATH = 19, T_LINK_PATH = 20,
    T_FILE_NOW = 21, T_DIRECTORY_NOW = 22,
    T_JOB_ID = 32, T_QUERY = 33, T_RSL = 34, T_ENVIRONMENT = 35,
    T_EFFECT = 64, T_ACCOUNT = 65, T_REASON = 66, T_ID = 67, T_CODE = 68
};
enum { F_RESOLVED = 1, F_EXISTS = 2, F_DIRECTORY = 4, F_SYMLINK = 8, F_EMPTY = 16, F_FOLLOWED = 32 };
enum { PERMIT = 1, DENY = 2, FAILURE = 3 };                     /* the effects */
enum { CODE_NONE = 0, CODE_JOB_ID = 1, CODE_EXECUTABLE = 2 };   /* which GRAM error says it best */

#define MAX_REQUEST (1 << 20) /* an assertion of 200 kB was seen; the daemon takes no more either */
#define MAX_ANSWER 4096       /* an account, a sentence and an id */
#define DEFAULT_TIMEOUT 10000 /* ms: logins wait this long for a daemon that is being restarted */
#define MAX_TIMEOUT 600000
#define MAX_LINKS 40 /* the kernel's own limit */
#define MAX_NAMES 8192 /* names looked up in one session, as many as the daemon remembers */

struct frame {
    unsigned char *data;
    size_t used, size;
    int failed;
};

struct answer {
    int effect, code;
    char account[256], reason[1024], id[65];
};

/* A name that was looked up, and what the daemon knows of it: where it led, and whether to a directory. */
struct name {
    uint32_t hash;
    int directory;
    char *path, *link;
};

/* One GridFTP session: its connection, and what opened it, to open it again when the daemon was restarted; and the
 * names that RNFR may have put in force, since what they mean may change before RNTO. */
struct session {
    int fd, timeout, opened;
    pid_t pid;
    uid_t server_uid;
    char *path;
    struct frame opening;
    struct name *names;
    size_t count, room;
    int forgot; /* there were more names than could be kept */
};

/* What this process, running as the user, sees of a path. */
struct sight {
    unsigned char facts;
    char real[PATH_MAX], link[PATH_MAX];
};

static void put(struct frame *frame, int tag, const void *value, size_t length)
{
    size_t need = frame->used + 5 + length;
    if (frame->failed || length > MAX_REQUEST || need > MAX_REQUEST) {
        frame->failed = 1;
        return;
    }
    if (need > frame->size) {
        size_t size = need * 2;
        unsigned char *data = realloc(frame->data, size);
        if (data == NULL) {
            frame->failed = 1;
            return;
        }
        frame->data = data;
        frame->size = size;
    }
    unsigned char *at = frame->data + frame->used;
    at[0] = tag;
    at[1] = length >> 24, at[2] = length >> 16, at[3] = length >> 8, at[4] = length;
    if (length)
        memcpy(at + 5, value, length);
    frame->used = need;
}

static void put_text(struct frame *frame, int tag, const char *text)
{
    if (text != NULL)
        put(frame, tag, text, strlen(text));
}

/* Begin a frame: room for the length, version and kind are written by finish(). */
static void start(struct frame *frame)
{
    memset(frame, 0, sizeof *frame);
    put(frame, 0, "x", 1); /* six bytes, as many as the head has */
}

static void finish(struct frame *frame, int kind)
{
    if (frame->failed)
        return;
    size_t length = frame->used - 4;
    frame->data[0] = length >> 24, frame->data[1] = length >> 16, frame->data[2] = length >> 8, frame->data[3] = length;
    frame->data[4] = VERSION;
    frame->data[5] = kind;
}

/* ---- The connection. ---- */

static long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000L + now.tv_nsec / 1000000;
}

/* Give the next call on the socket what is left of the time; 0 when nothing is. */
static int arm(int fd, int option, long deadline)
{
    long left = deadline - now_ms();
    if (left <= 0)
        return 0;
    struct timeval time = {left / 1000, left % 1000 * 1000};
    return setsockopt(fd, SOL_SOCKET, option, &time, sizeof time) == 0;
}

static int setting(const char *name, int fallback, int lowest, int highest)
{
    const char *text = getenv(name);
    if (text == NULL || *text == '\0')
        return fallback;
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    return errno || *end || value < lowest || value > highest ? -1 : (int)value;
}

/* Connect to the daemon, and make sure that it is the daemon; -1 when not. */
static int dial(const char *path, uid_t server_uid, long deadline)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (path == NULL || path[0] != '/' || strlen(path) >= sizeof address.sun_path)
        return -1;
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    int rc;
    do {
        rc = arm(fd, SO_SNDTIMEO, deadline) ? connect(fd, (struct sockaddr *)&address, sizeof address) : -2;
    } while (rc == -1 && errno == EINTR);
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (rc != 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.uid != server_uid) {
        close(fd);
        return -1;
    }
    return fd;
}

static int send_all(int fd, const struct frame *frame, long deadline)
{
    for (size_t sent = 0; sent < frame->used;) {
        if (!arm(fd, SO_SNDTIMEO, deadline))
            return 0;
        ssize_t count = send(fd, frame->data + sent, frame->used - sent, MSG_NOSIGNAL);
        if (count > 0)
            sent += count;
        else if (count == 0 || errno != EINTR)
            return 0;
    }
    return 1;
}

static int receive_all(int fd, unsigned char *data, size_t wanted, long deadline)
{
    for (size_t got = 0; got < wanted;) {
        if (!arm(fd, SO_RCVTIMEO, deadline))
            return 0;
        ssize_t count = recv(fd, data + got, wanted - got, 0);
        if (count > 0)
            got += count;
        else if (count == 0 || errno != EINTR)
            return 0;
    }
    return 1;
}

/* Take a text of the answer over: printable ASCII only, so that it can neither split a reply nor end early. */
static int take(char *target, size_t size, const unsigned char *value, size_t length)
{
    if (length >= size)
        return 0;
    for (size_t i = 0; i < length; i++)
        if (value[i] < 0x20 || value[i] > 0x7e)
            return 0;
    memcpy(target, value, length);
    target[length] = '\0';
    return 1;
}

static int parse(const unsigned char *body, size_t length, struct answer *answer)
{
    memset(answer, 0, sizeof *answer);
    if (length < 2 || body[0] != VERSION || body[1] != ANSWER)
        return 0;
    unsigned int seen = 0;
    for (size_t at = 2; at < length;) {
        if (length - at < 5)
            return 0;
        int tag = body[at];
        if (tag < T_EFFECT || tag > T_CODE || seen & 1u << (tag - T_EFFECT))
            return 0; /* there twice, or an obligation of a later version, which must not be passed over */
        seen |= 1u << (tag - T_EFFECT);
        size_t size = (size_t)body[at + 1] << 24 | body[at + 2] << 16 | body[at + 3] << 8 | body[at + 4];
        const unsigned char *value = body + at + 5;
        at += 5;
        if (size > length - at)
            return 0;
        at += size;
        switch (tag) {
        case T_EFFECT:
            if (size != 1 || value[0] < PERMIT || value[0] > FAILURE)
                return 0;
            answer->effect = value[0];
            break;
        case T_CODE:
            if (size != 1 || value[0] > CODE_EXECUTABLE)
                return 0;
            answer->code = value[0];
            break;
        case T_ACCOUNT:
            if (!take(answer->account, sizeof answer->account, value, size))
                return 0;
            break;
        case T_REASON:
            if (!take(answer->reason, sizeof answer->reason, value, size))
                return 0;
            break;
        case T_ID:
            if (!take(answer->id, sizeof answer->id, value, size))
                return 0;
            break;
        }
    }
    return answer->effect != 0;
}

/* Ask one question. 1: there is an answer; 0: no answer, or none in time; -1: an answer that is none. */
static int ask(int fd, const struct frame *question, long deadline, struct answer *answer)
{
    unsigned char head[4], body[MAX_ANSWER];
    memset(answer, 0, sizeof *answer);
    if (question->failed || !send_all(fd, question, deadline) || !receive_all(fd, head, 4, deadline))
        return 0;
    size_t length = (size_t)head[0] << 24 | head[1] << 16 | head[2] << 8 | head[3];
    if (length > sizeof body)
        return -1;
    if (!receive_all(fd, body, length, deadline))
        return 0;
    return parse(body, length, answer) ? 1 : -1;
}

/* Make the verdict of what ask() returned; the reason says what went wrong without naming files or addresses. */
static void judge(int got, const struct frame *question, struct answer *answer)
{
    if (got == 1)
        return;
    memset(answer, 0, sizeof *answer);
    answer->effect = FAILURE;
    strcpy(answer->reason, question->failed ? "the request is too large for the authorization service"
                           : got < 0        ? "the authorization service gave no valid answer"
                                            : "the authorization service is unreachable or too slow");
}

/* Ask one question on a connection of its own, which is closed again. */
static void ask_once(struct frame *question, struct answer *answer)
{
    int timeout = setting("GSI_AUTHZ_TIMEOUT", DEFAULT_TIMEOUT, 1, MAX_TIMEOUT);
    int uid = setting("GSI_AUTHZ_SERVER_UID", 0, 0, INT_MAX);
    long deadline = now_ms() + timeout;
    int fd = timeout < 0 || uid < 0 ? -1 : dial(getenv("GSI_AUTHZ_SOCKET"), uid, deadline);
    judge(fd < 0 ? 0 : ask(fd, question, deadline, answer), question, answer);
    if (fd >= 0)
        close(fd);
    free(question->data);
}

/* ---- Errors as the services understand them. ---- */

static result_t failure(void *module, int type, const struct answer *answer)
{
    if (module == NULL)
        module = globus_i_common_module;
    if (globus_error_put == NULL || globus_error_construct_error == NULL || module == NULL)
        return 1;
    void *error = globus_error_construct_error(module, NULL, type, "gsi_authz_callout", "authorize", 0, "%s%s%s%s",
                                               answer->reason[0] ? answer->reason : "refused by the site's policy",
                                               answer->id[0] ? " (decision " : "", answer->id, answer->id[0] ? ")" : "");
    result_t result = error == NULL ? 1 : globus_error_put(error);
    return result ? result : 1;
}

static result_t authz_result(const struct answer *answer)
{
    if (answer->effect == PERMIT)
        return 0;
    return failure(globus_gsi_authz_callout_error_module, answer->effect == DENY ? AUTHZ_DENIED : AUTHZ_SYSTEM, answer);
}

static void refuse(struct answer *answer, int effect, const char *reason)
{
    answer->effect = effect;
    snprintf(answer->reason, sizeof answer->reason, "%s", reason);
}

/* ---- What the security context tells. ---- */

static void put_name(struct frame *frame, int tag, void *name)
{
    uint32_t minor;
    gss_buffer text = {0, NULL};
    if (name != NULL && gss_display_name != NULL && gss_display_name(&minor, name, &text, NULL) == 0) {
        put(frame, tag, text.value, text.length);
        if (gss_release_buffer != NULL)
            gss_release_buffer(&minor, &text);
    }
}

/* Add both names and the peer's certificates, leaf first. What cannot be had is left out: the daemon then refuses. */
static void put_context(struct frame *frame, void *context)
{
    static const unsigned char chain_oid[] = {0x2b, 6, 1, 4, 1, 0x9b, 0x50, 1, 1, 1, 8}; /* 1.3.6.1.4.1.3536.1.1.1.8 */
    uint32_t minor;
    void *source = NULL, *target = NULL;
    if (context == NULL)
        return;
    if (gss_inquire_context != NULL &&
        gss_inquire_context(&minor, context, &source, &target, NULL, NULL, NULL, NULL, NULL) == 0) {
        put_name(frame, T_SOURCE, source);
        put_name(frame, T_TARGET, target);
        if (gss_release_name != NULL) {
            if (source != NULL)
                gss_release_name(&minor, &source);
            if (target != NULL)
                gss_release_name(&minor, &target);
        }
    }
    gss_oid oid = {sizeof chain_oid, (void *)chain_oid};
    gss_buffer_set *chain = NULL;
    if (gss_inquire_sec_context_by_oid == NULL ||
        gss_inquire_sec_context_by_oid(&minor, context, &oid, &chain) != 0 || chain == NULL)
        return;
    for (size_t i = 0; i < chain->count; i++)
        put(frame, T_CERTIFICATE, chain->elements[i].value, chain->elements[i].length);
    if (gss_release_buffer_set != NULL)
        gss_release_buffer_set(&minor, &chain);
}

/* ---- Mapping: globus_mapping, globus_authorization. ---- */

/* A permitted account must be one that the service may run as; both services would use what stands here as it is. */
static void check_account(struct answer *answer, const char *desired, unsigned int size)
{
    struct passwd entry, *found = NULL;
    char space[16384];
    if (answer->account[0] == '\0')
        refuse(answer, FAILURE, "the authorization service named no account");
    else if (desired != NULL && strcmp(desired, answer->account) != 0)
        refuse(answer, DENY, "the requested account is not one of yours");
    else if (strlen(answer->account) >= size)
        refuse(answer, FAILURE, "the account's name is too long for this service");
    else if (strpbrk(answer->account, " /:,\\\"'") != NULL || answer->account[0] == '-' ||
             getpwnam_r(answer->account, &entry, space, sizeof space, &found) != 0 || found == NULL)
        refuse(answer, FAILURE, "the account does not exist on this host");
    else if (found->pw_uid == 0)
        refuse(answer, DENY, "nobody is mapped to an account with uid 0");
}

result_t gsi_authz_mapping(va_list ap)
{
    void *context = va_arg(ap, void *);
    const char *service = va_arg(ap, const char *), *desired = va_arg(ap, const char *);
    char *target = va_arg(ap, char *);
    unsigned int size = va_arg(ap, unsigned int);
    struct frame frame;
    struct answer answer;
    unsigned char number[4] = {size >> 24, size >> 16, size >> 8, size};

    start(&frame);
    put_text(&frame, T_SERVICE, service);
    put_text(&frame, T_DESIRED, desired);
    put(&frame, T_BUFFER, number, 4);
    if (service != NULL && strcmp(service, "sharing") == 0)
        put_text(&frame, T_SHARED, va_arg(ap, const char *));
    put_context(&frame, context);
    finish(&frame, MAP);
    ask_once(&frame, &answer);
    if (answer.effect == PERMIT)
        check_account(&answer, desired, size);
    if (answer.effect == PERMIT)
        strcpy(target, answer.account);
    return authz_result(&answer);
}

result_t gsi_authz_service(va_list ap)
{
    void *context = va_arg(ap, void *);
    const char *service = va_arg(ap, const char *);
    struct frame frame;
    struct answer answer;

    start(&frame);
    put_text(&frame, T_SERVICE, service);
    if (service != NULL && strcmp(service, "sharing") == 0)
        put_text(&frame, T_SHARED, va_arg(ap, const char *));
    put_context(&frame, context);
    finish(&frame, SERVICE);
    ask_once(&frame, &answer);
    return authz_result(&answer);
}

/* ---- Data: one session per control connection, one question per file operation, as the mapped user. ---- */

result_t gsi_authz_system_init(va_list ap)
{
    (void)ap;
    return 0;
}

result_t gsi_authz_system_destroy(va_list ap)
{
    (void)ap;
    return 0;
}

/* Open the session's connection; `resumed` says that the daemon has forgotten what went before. */
static int open_session(struct session *session, int resumed, long deadline, struct answer *answer)
{
    struct frame frame = session->opening;
    frame.data = malloc(frame.used + 6);
    if (session->opening.failed || frame.data == NULL) {
        frame.failed = 1;
        judge(0, &frame, answer);
        free(frame.data);
        return 0;
    }
    memcpy(frame.data, session->opening.data, frame.used);
    frame.size = frame.used + 6;
    if (resumed)
        put(&frame, T_RESUMED, "\1", 1);
    finish(&frame, SESSION);
    session->fd = dial(session->path, session->server_uid, deadline);
    judge(session->fd < 0 ? 0 : ask(session->fd, &frame, deadline, answer), &frame, answer);
    free(frame.data);
    if (answer->effect != PERMIT && session->fd >= 0) {
        close(session->fd);
        session->fd = -1;
    }
    return answer->effect == PERMIT;
}

result_t gsi_authz_handle_init(va_list ap)
{
    void **handle = va_arg(ap, void **);
    const char *service = va_arg(ap, const char *);
    void *context = va_arg(ap, void *);
    callback_t callback = va_arg(ap, callback_t);
    void *callback_arg = va_arg(ap, void *);
    struct answer answer;
    memset(&answer, 0, sizeof answer);

    struct session *session = calloc(1, sizeof *session);
    *handle = session;
    if (session == NULL)
        refuse(&answer, FAILURE, "out of memory");
    else {
        const char *path = getenv("GSI_AUTHZ_SOCKET");
        int uid = setting("GSI_AUTHZ_SERVER_UID", 0, 0, INT_MAX);
        session->fd = -1;
        session->pid = getpid();
        session->timeout = setting("GSI_AUTHZ_TIMEOUT", DEFAULT_TIMEOUT, 1, MAX_TIMEOUT);
        session->server_uid = uid;
        session->path = path == NULL || uid < 0 || session->timeout < 0 ? NULL : strdup(path);
        start(&session->opening);
        put_text(&session->opening, T_SERVICE, service);
        put_context(&session->opening, context);
        session->opened = open_session(session, 0, now_ms() + session->timeout, &answer);
    }
    callback(callback_arg, session, authz_result(&answer));
    return 0;
}

/* Write the path with every link followed except, if `keep_last`, its last part; missing parts stay as they are. */
static int resolve(const char *path, int keep_last, char *target)
{
    char rest[PATH_MAX] = "", head[PATH_MAX], link[PATH_MAX], joined[2 * PATH_MAX];
    if (path[0] != '/' || strlen(path) >= sizeof head)
        return 0;
    strcpy(head, path);
    for (int turn = 0; turn < 4 * MAX_LINKS; turn++) {
        size_t length = strlen(head);
        while (length > 1 && head[length - 1] == '/')
            head[--length] = '\0';
        if (!keep_last && realpath(head, target) != NULL) {
            if (strlen(target) + strlen(rest) >= PATH_MAX)
                return 0;
            if (rest[0] != '\0' && strcmp(target, "/") == 0)
                target[0] = '\0';
            strcat(target, rest);
            return 1;
        }
        if (strcmp(head, "/") == 0)
            return keep_last ? (strcpy(target, "/"), 1) : 0;
        if (!keep_last && errno != ENOENT)
            return 0; /* no way to know where it leads, nor can the service go there */
        char *slash = strrchr(head, '/');
        const char *name = slash + 1;
        if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            return 0; /* the server resolves these; after a missing part they mean nothing */
        ssize_t size = keep_last ? -1 : readlink(head, link, sizeof link - 1);
        keep_last = 0;
        if (size >= 0) { /* a link to what does not exist: opening it for writing would create its target */
            link[size] = '\0';
            *slash = '\0';
            if (snprintf(joined, sizeof joined, "%s%s%s", link[0] == '/' ? "" : head, link[0] == '/' ? "" : "/", link) >=
                PATH_MAX)
                return 0;
            strcpy(head, joined);
            continue;
        }
        if (snprintf(joined, sizeof joined, "/%s%s", name, rest) >= PATH_MAX)
            return 0;
        strcpy(rest, joined);
        slash[slash == head] = '\0';
    }
    return 0;
}

/* Say whether a directory is empty; `doubt` where it cannot be read, which rename(2) need not do. */
static int is_empty(const char *path, int doubt)
{
    DIR *directory = opendir(path);
    if (directory == NULL)
        return doubt;
    struct dirent *entry;
    int empty = 1;
    errno = 0;
    while (empty && (entry = readdir(directory)) != NULL)
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    if (empty && errno != 0)
        empty = doubt;
    closedir(directory);
    return empty;
}

/* Look at the path of "ftp://host/path". To read a directory costs as much as all the rest, so that whether it is empty
 * is looked up where it matters only: to delete it must be, to be replaced it may be. */
static void look(const char *action, const char *path, struct sight *sight)
{
    int deletes = strcmp(action, "delete") == 0, writes = strcmp(action, "write") == 0;
    struct stat found;
    sight->facts = 0;
    if (path == NULL || !resolve(path, 0, sight->real) || !resolve(path, 1, sight->link))
        return;
    sight->facts = F_RESOLVED;
    if (lstat(path, &found) == 0 && S_ISLNK(found.st_mode))
        sight->facts |= F_SYMLINK;
    if (stat(path, &found) == 0) {
        sight->facts |= F_EXISTS;
        if (S_ISDIR(found.st_mode))
            sight->facts |= F_DIRECTORY | ((deletes || writes) && is_empty(path, writes) ? F_EMPTY : 0);
    } else if (errno != ENOENT)
        sight->facts &= ~F_RESOLVED;
}

/* ---- The names of a session: RNFR keeps a name, and RNTO renames what it means by then. ---- */

static uint32_t hash_of(const char *text)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 16777619u;
    return hash;
}

/* Keep a name that was looked up and is there, with what the daemon has been told of it. */
static void remember(struct session *session, const char *path, const struct sight *sight)
{
    if (!(sight->facts & F_RESOLVED) || !(sight->facts & (F_EXISTS | F_SYMLINK)))
        return;
    uint32_t hash = hash_of(path);
    struct name *name = NULL;
    for (size_t i = 0; i < session->count && name == NULL; i++)
        if (session->names[i].hash == hash && strcmp(session->names[i].path, path) == 0)
            name = &session->names[i];
    char *link = name != NULL && strcmp(name->link, sight->link) == 0 ? name->link : strdup(sight->link);
    if (link != NULL && name == NULL && session->count < MAX_NAMES) {
        if (session->count == session->room) {
            size_t room = session->room ? session->room * 2 : 16;
            struct name *names = realloc(session->names, room * sizeof *names);
            if (names != NULL) {
                session->names = names;
                session->room = room;
            }
        }
        char *copy = session->count < session->room ? strdup(path) : NULL;
        if (copy != NULL) {
            name = &session->names[session->count++];
            *name = (struct name){hash, 0, copy, link};
        }
    }
    if (link == NULL || name == NULL) {
        free(link);
        session->forgot = 1;
        return;
    }
    if (name->link != link) {
        free(name->link);
        name->link = link;
    }
    name->directory = (sight->facts & (F_DIRECTORY | F_SYMLINK)) == F_DIRECTORY;
}

/* Follow every name of the session again, and tell the daemon what has changed. 0 when that cannot be said of all. */
static int follow(struct session *session, struct frame *frame)
{
    char link[PATH_MAX];
    struct stat found;
    if (session->forgot)
        return 0;
    for (size_t i = 0; i < session->count; i++) {
        struct name *name = &session->names[i];
        if (lstat(name->path, &found) != 0) {
            if (errno == ENOENT || errno == ENOTDIR)
                continue; /* nothing is there to be renamed */
            return 0;
        }
        if (!resolve(name->path, 1, link))
            return 0;
        int directory = S_ISDIR(found.st_mode) != 0;
        if (directory != name->directory || strcmp(link, name->link) != 0)
            put_text(frame, directory ? T_DIRECTORY_NOW : T_FILE_NOW, link);
    }
    return 1;
}

static void forget(struct session *session)
{
    for (size_t i = 0; i < session->count; i++) {
        free(session->names[i].path);
        free(session->names[i].link);
    }
    free(session->names);
}

result_t gsi_authz_authorize(va_list ap)
{
    struct session *session = va_arg(ap, struct session *);
    const char *action = va_arg(ap, const char *), *object = va_arg(ap, const char *);
    callback_t callback = va_arg(ap, callback_t);
    void *callback_arg = va_arg(ap, void *);
    struct frame frame;
    struct answer answer;
    struct sight sight = {.facts = 0};
    memset(&answer, 0, sizeof answer);

    if (session == NULL || !session->opened || session->pid != getpid()) {
        refuse(&answer, DENY, "this session was refused");
    } else {
        long deadline = now_ms() + session->timeout;
        start(&frame);
        put_text(&frame, T_ACTION, action);
        put_text(&frame, T_OBJECT, object);
        const char *path = object != NULL && strncmp(object, "ftp://", 6) == 0 ? strchr(object + 6, '/') : NULL;
        if (action != NULL && object != NULL && strcmp(action, "authz_assert") != 0) {
            look(action, path, &sight);
            if (sight.facts & F_RESOLVED) {
                put_text(&frame, T_REAL_PATH, sight.real);
                put_text(&frame, T_LINK_PATH, sight.link);
            }
            if (strcmp(action, "write") == 0 && follow(session, &frame))
                sight.facts |= F_FOLLOWED;
            put(&frame, T_FACTS, &sight.facts, 1);
        }
        finish(&frame, OPERATION);
        int got = session->fd < 0 ? 0 : ask(session->fd, &frame, deadline, &answer);
        if (got == 0 && !frame.failed && now_ms() < deadline) { /* the daemon was restarted: once more, from the start */
            if (session->fd >= 0)
                close(session->fd);
            session->fd = -1;
            if (open_session(session, 1, deadline, &answer))
                judge(got = ask(session->fd, &frame, deadline, &answer), &frame, &answer);
        } else
            judge(got, &frame, &answer);
        if (got != 1 && session->fd >= 0) { /* a late answer must never be taken for the next question's */
            close(session->fd);
            session->fd = -1;
        }
        free(frame.data);
        if (answer.effect == PERMIT && action != NULL && strcmp(action, "lookup") == 0)
            remember(session, path, &sight);
    }
    callback(callback_arg, session, authz_result(&answer));
    return 0;
}

result_t gsi_authz_handle_destroy(va_list ap)
{
    struct session *session = va_arg(ap, struct session *);
    callback_t callback = va_arg(ap, callback_t);
    void *callback_arg = va_arg(ap, void *);
    if (session != NULL) {
        if (session->fd >= 0)
            close(session->fd);
        forget(session);
        free(session->opening.data);
        free(session->path);
        free(session);
    }
    if (callback != NULL)
        callback(callback_arg, NULL, 0);
    return 0;
}

result_t gsi_authz_cancel(va_list ap)
{
    (void)ap;
    return 0; /* questions are answered before they return, so none is ever under way */
}

/* In whose name the session acts: nobody's but the client's own, which the service knows already. */
result_t gsi_authz_identity(va_list ap)
{
    void *session = va_arg(ap, void *);
    char **identity = va_arg(ap, char **);
    callback_t callback = va_arg(ap, callback_t);
    void *callback_arg = va_arg(ap, void *);
    struct answer answer;
    memset(&answer, 0, sizeof answer);
    refuse(&answer, FAILURE, "the session acts in the client's own name");
    *identity = NULL;
    callback(callback_arg, session, authz_result(&answer));
    return 0;
}

/* ---- Jobs: start and every query, in the job manager, as the mapped user. ---- */

result_t gsi_authz_job(va_list ap)
{
    static const char *const passed[] = {"GLOBUS_ID", "REMOTE_ADDR", "GATEKEEPER_JM_ID", "SCRIPT_NAME", "GSI_AUTHZ_GATE"};
    void *request_context = va_arg(ap, void *), *context = va_arg(ap, void *);
    const char *job_id = va_arg(ap, const char *);
    void *rsl = va_arg(ap, void *);
    const char *query = va_arg(ap, const char *);
    char *text = rsl != NULL && globus_rsl_unparse != NULL ? globus_rsl_unparse(rsl) : NULL;
    struct frame frame;
    struct answer answer;
    (void)request_context; /* always NULL today */

    start(&frame);
    put_text(&frame, T_JOB_ID, job_id);
    put_text(&frame, T_QUERY, query);
    put_text(&frame, T_RSL, text);
    free(text);
    for (size_t i = 0; i < sizeof passed / sizeof *passed; i++) {
        const char *value = getenv(passed[i]);
        char pair[4096];
        if (value != NULL && snprintf(pair, sizeof pair, "%s=%s", passed[i], value) < (int)sizeof pair)
            put_text(&frame, T_ENVIRONMENT, pair);
    }
    put_context(&frame, context);
    finish(&frame, JOB);
    ask_once(&frame, &answer);
    if (answer.effect == PERMIT)
        return 0;
    int type = answer.effect != DENY               ? GRAM_SYSTEM
               : answer.code == CODE_JOB_ID        ? GRAM_DENIED_JOB_ID
               : answer.code == CODE_EXECUTABLE    ? GRAM_DENIED_EXECUTABLE
                                                   : GRAM_DENIED;
    return failure(globus_i_gram_jobmanager_callout_error_module, type, &answer);
}
