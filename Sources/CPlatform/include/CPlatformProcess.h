#pragma once

#include <sys/types.h>

/// Starts `path` in a session of its own: standard input from /dev/null, output and errors appended to `log`, no other
/// descriptor, no blocked signal, every signal at its default. Returns 0 or an errno.
int suanpan_spawn(const char *path, char *const argv[], const char *log, pid_t *pid);

/// Has the kernel kill this process (SIGKILL) when the thread that started it ends. Returns 0 where `parent` is already gone.
int suanpan_die_with_parent(pid_t parent);

/// Has the kernel end this process (SIGPROF) when it has used `seconds` of processor time more.
void suanpan_limit_processor_time(unsigned seconds);

/// Goes on as two processes, the child with everything that it writes going to the parent's `output`. Only for a process of one
/// thread. Returns the child's id in the parent, 0 in the child, -1 where that is not possible.
pid_t suanpan_fork(int *output);
