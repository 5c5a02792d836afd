/*
 * Drives the callout library as a Globus service does, without one: for tests of the library alone, and for figures.
 *
 *     cc -rdynamic -o driver callout_driver.c -ldl -lpthread
 *     driver LIBRARY < commands
 *
 * It brings the few Globus and GSSAPI functions that the library takes from its host. Commands, one per line, words
 * separated by tabs; each answers with one line, "ok", "ok <account>" or "<type> <text>":
 *
 *     map SERVICE DESIRED BUFFERSIZE       DESIRED "-" is NULL
 *     service SERVICE
 *     init SERVICE                         opens the session that `op` uses
 *     op ACTION OBJECT
 *     destroy
 *     job ID QUERY RSL                     RSL "-" is NULL
 *     chain FILE                           the peer's certificates: DER, each behind 4 bytes of length
 *     fork ACTION OBJECT                   `op` in a forked copy of this process
 *     time COUNT ACTION OBJECT             COUNT times `op`; answers with the median and the 99th percentile in ns
 *     load THREADS SECONDS ACTION OBJECT   THREADS sessions in threads ask without pause; answers with the total count
 *     open COUNT SERVICE                   COUNT more sessions, held open; answers with how many were permitted
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef uint32_t result_t;
typedef result_t (*callout_t)(va_list);
typedef struct { size_t length; void *value; } gss_buffer;
typedef struct { size_t count; gss_buffer *elements; } gss_buffer_set;

char globus_gsi_authz_callout_error_module[8] = "authz";
char globus_i_gram_jobmanager_callout_error_module[8] = "gram";

static __thread char last_error[2048];
static gss_buffer certificates[64];
static gss_buffer_set chain = {0, certificates};

result_t globus_error_put(void *error) { return error != NULL ? 77 : 0; }

void *globus_error_construct_error(void *module, void *cause, int type, const char *file, const char *func, int line,
                                   const char *format, ...)
{
    (void)cause, (void)file, (void)func, (void)line;
    va_list ap;
    va_start(ap, format);
    int used = snprintf(last_error, sizeof last_error, "%s:%d ", (char *)module, type);
    vsnprintf(last_error + used, sizeof last_error - used, format, ap);
    va_end(ap);
    return last_error;
}

char *globus_rsl_unparse(void *rsl) { return strdup(rsl); }

uint32_t gss_inquire_context(uint32_t *minor, void *context, void **source, void **target, uint32_t *life, void *mech,
                             uint32_t *flags, int *local, int *open)
{
    (void)minor, (void)context, (void)life, (void)mech, (void)flags, (void)local, (void)open;
    *source = "/O=Grid/CN=Alice";
    *target = "/O=Grid/CN=localhost";
    return 0;
}

uint32_t gss_display_name(uint32_t *minor, void *name, gss_buffer *text, void *type)
{
    (void)minor, (void)type;
    text->value = strdup(name);
    text->length = strlen(name);
    return 0;
}

uint32_t gss_release_name(uint32_t *minor, void **name)
{
    (void)minor;
    *name = NULL;
    return 0;
}

uint32_t gss_release_buffer(uint32_t *minor, gss_buffer *buffer)
{
    (void)minor;
    free(buffer->value);
    return 0;
}

uint32_t gss_inquire_sec_context_by_oid(uint32_t *minor, void *context, void *oid, gss_buffer_set **found)
{
    (void)minor, (void)context, (void)oid;
    *found = &chain;
    return 0;
}

uint32_t gss_release_buffer_set(uint32_t *minor, gss_buffer_set **set)
{
    (void)minor;
    *set = NULL;
    return 0;
}

static result_t call(callout_t function, ...)
{
    va_list ap;
    va_start(ap, function);
    result_t result = function(ap);
    va_end(ap);
    return result;
}

/* What a callback of the asynchronous types got; a host would be called later. */
struct verdict { int calls; result_t result; };

static void take(void *arg, void *handle, result_t result)
{
    (void)handle;
    struct verdict *verdict = arg;
    verdict->calls++;
    verdict->result = result;
}

static callout_t mapping, service, init, authorize, destroy, job;
static void *state;
static char context; /* any address but NULL */

static result_t open_session(void **handle, const char *name)
{
    struct verdict verdict = {0, 0};
    last_error[0] = '\0';
    result_t result = call(init, handle, name, &context, take, &verdict, state);
    return result != 0 ? result : verdict.calls != 1 ? 99 : verdict.result;
}

static result_t ask(void *handle, const char *action, const char *object)
{
    struct verdict verdict = {0, 0};
    last_error[0] = '\0';
    result_t result = call(authorize, handle, action, object, take, &verdict, state);
    return result != 0 ? result : verdict.calls != 1 ? 99 : verdict.result;
}

static void close_session(void *handle)
{
    struct verdict verdict = {0, 0};
    call(destroy, handle, take, &verdict, &state);
}

static void answer(result_t result, const char *text)
{
    if (result == 0)
        printf("ok%s%s\n", text[0] ? " " : "", text);
    else
        printf("%s\n", last_error[0] ? last_error : "failed");
    fflush(stdout);
}

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static int compare(const void *one, const void *other)
{
    int64_t a = *(const int64_t *)one, b = *(const int64_t *)other;
    return (a > b) - (a < b);
}

static void measure(void *handle, int count, const char *action, const char *object)
{
    int64_t *times = calloc(count, sizeof *times);
    for (int i = 0; i < count; i++) {
        int64_t begun = now_ns();
        if (ask(handle, action, object) != 0) {
            answer(1, "");
            free(times);
            return;
        }
        times[i] = now_ns() - begun;
    }
    qsort(times, count, sizeof *times, compare);
    printf("ok %lld %lld\n", (long long)times[count / 2], (long long)times[count * 99 / 100]);
    fflush(stdout);
    free(times);
}

struct load { int64_t until; const char *action, *object; long count; };

static void *run_load(void *arg)
{
    struct load *load = arg;
    void *handle = NULL;
    if (open_session(&handle, "file") == 0)
        while (now_ns() < load->until && ask(handle, load->action, load->object) == 0)
            load->count++;
    close_session(handle);
    return NULL;
}

static void run_loads(int threads, int seconds, const char *action, const char *object)
{
    struct load *loads = calloc(threads, sizeof *loads);
    pthread_t *ids = calloc(threads, sizeof *ids);
    int64_t until = now_ns() + seconds * 1000000000LL;
    for (int i = 0; i < threads; i++) {
        loads[i] = (struct load){until, action, object, 0};
        pthread_create(&ids[i], NULL, run_load, &loads[i]);
    }
    long total = 0;
    for (int i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
        total += loads[i].count;
    }
    printf("ok %ld\n", total);
    fflush(stdout);
    free(loads);
    free(ids);
}

static int read_chain(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return 0;
    unsigned char head[4];
    chain.count = 0;
    while (chain.count < 64 && fread(head, 1, 4, file) == 4) {
        gss_buffer *one = &certificates[chain.count++];
        one->length = (size_t)head[0] << 24 | head[1] << 16 | head[2] << 8 | head[3];
        one->value = malloc(one->length);
        if (fread(one->value, 1, one->length, file) != one->length)
            return 0;
    }
    fclose(file);
    return 1;
}

static callout_t find(void *library, const char *name)
{
    callout_t found = (callout_t)dlsym(library, name);
    if (found == NULL) {
        fprintf(stderr, "no %s\n", name);
        exit(2);
    }
    return found;
}

int main(int argc, char **argv)
{
    static char line[1 << 21];
    void *library = argc == 2 ? dlopen(argv[1], RTLD_NOW) : NULL;
    if (library == NULL) {
        fprintf(stderr, "usage: driver LIBRARY: %s\n", argc == 2 ? dlerror() : "");
        return 2;
    }
    mapping = find(library, "gsi_authz_mapping");
    service = find(library, "gsi_authz_service");
    init = find(library, "gsi_authz_handle_init");
    authorize = find(library, "gsi_authz_authorize");
    destroy = find(library, "gsi_authz_handle_destroy");
    job = find(library, "gsi_authz_job");
    void *handle = NULL;
    while (fgets(line, sizeof line, stdin) != NULL) {
        char *words[6] = {0}, *rest = line;
        line[strcspn(line, "\n")] = '\0';
        for (int i = 0; i < 6 && rest != NULL; i++)
            words[i] = strsep(&rest, "\t");
        const char *verb = words[0];
        last_error[0] = '\0';
        if (strcmp(verb, "map") == 0) {
            unsigned int size = atoi(words[3]);
            char *buffer = calloc(1, size + 1);
            result_t result = call(mapping, &context, words[1], strcmp(words[2], "-") ? words[2] : NULL, buffer, size);
            answer(result, buffer);
            free(buffer);
        } else if (strcmp(verb, "service") == 0)
            answer(call(service, &context, words[1]), "");
        else if (strcmp(verb, "init") == 0)
            answer(open_session(&handle, words[1]), "");
        else if (strcmp(verb, "op") == 0)
            answer(ask(handle, words[1], words[2]), "");
        else if (strcmp(verb, "destroy") == 0) {
            close_session(handle);
            handle = NULL;
            answer(0, "");
        } else if (strcmp(verb, "job") == 0)
            answer(call(job, NULL, &context, words[1], strcmp(words[3], "-") ? words[3] : NULL, words[2]), "");
        else if (strcmp(verb, "chain") == 0)
            answer(!read_chain(words[1]), "");
        else if (strcmp(verb, "fork") == 0) {
            if (fork() == 0) {
                answer(ask(handle, words[1], words[2]), "");
                _exit(0);
            }
            wait(NULL);
        } else if (strcmp(verb, "time") == 0)
            measure(handle, atoi(words[1]), words[2], words[3]);
        else if (strcmp(verb, "load") == 0)
            run_loads(atoi(words[1]), atoi(words[2]), words[3], words[4]);
        else if (strcmp(verb, "open") == 0) {
            int permitted = 0;
            for (int i = atoi(words[1]); i > 0; i--) {
                void *one = NULL;
                permitted += open_session(&one, words[2]) == 0;
            }
            printf("ok %d\n", permitted);
            fflush(stdout);
        } else {
            fprintf(stderr, "unknown command %s\n", verb);
            return 2;
        }
    }
    return 0;
}
