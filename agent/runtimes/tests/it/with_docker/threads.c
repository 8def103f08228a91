// What threads of one process may do apart from each other. A static program, run as the first process of a container.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *mode;
static pthread_barrier_t ready;

static int is(const char *wanted) { return strcmp(mode, wanted) == 0; }

static void *other(void *unused) {
    (void)unused;
    if (is("other-net")) unshare(CLONE_NEWNET);
    if (is("other-mounts")) unshare(CLONE_NEWNS);
    pthread_barrier_wait(&ready); // the first thread does its part after this
    pthread_barrier_wait(&ready); // and before this
    if (is("keeps-root")) close(open("/tmp/owned", O_CREAT | O_WRONLY, 0600));
    for (;;) pause();
}

int main(int argc, char **argv) {
    mode = argc > 1 ? argv[1] : "";
    int threads = argc > 2 ? atoi(argv[2]) : 1;
    pthread_barrier_init(&ready, 0, 2);
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 65536);
    pthread_t made;
    pthread_create(&made, &small, other, 0);
    pthread_barrier_wait(&ready);
    // The C library tells all threads to change their ids; the system call changes those of its caller alone.
    if (is("keeps-root")) syscall(SYS_setresuid, 1000, 1000, 1000);
    if (is("drops-root")) if (setresuid(1000, 1000, 1000)) return 1;
    pthread_barrier_wait(&ready);
    if (is("many")) {
        pthread_barrier_init(&ready, 0, 2);
        for (int i = 1; i < threads; i++) {
            pthread_create(&made, &small, other, 0);
            pthread_barrier_wait(&ready);
            pthread_barrier_wait(&ready);
        }
    }
    if (is("first-ends")) syscall(SYS_exit, 0);
    for (;;) pause();
}
