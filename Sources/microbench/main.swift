import CPlatform
import Glibc

/// Work per payment of the mechanisms that every payment passes, one at a time.
///
///     microbench            all, with CPU nanoseconds
///     microbench NAME       one
///     microbench --list     the names
///
/// `scripts/microbench.sh` runs each under callgrind, which counts instructions inside `measured` only, and compares them with
/// the thresholds of `scripts/microbench.txt`: instructions repeat where times do not.

/// The measured part, and nothing else: callgrind collects while this function is on the stack.
@inline(never)
func measured(_ body: () -> Void) { body() }

func say(_ text: String) { print(text) }

let wanted = Array(CommandLine.arguments.dropFirst())
if wanted == ["--list"] {
    Microbenchmark.all.forEach { say($0.name) }
    exit(0)
}
let chosen = wanted.isEmpty ? Microbenchmark.all : Microbenchmark.all.filter { wanted.contains($0.name) }
guard wanted.allSatisfy({ name in chosen.contains { $0.name == name } }) else {
    say("microbench: one of \(wanted) is none of: \(Microbenchmark.all.map(\.name).joined(separator: " "))")
    exit(64)
}
for benchmark in chosen {
    let (count, body) = benchmark.prepare()
    let before = suanpan_thread_cpu_nanoseconds()
    measured(body)
    let nanoseconds = suanpan_thread_cpu_nanoseconds() - before
    say("\(benchmark.name) \(count) payments \(Double(nanoseconds * 10 / UInt64(count)) / 10) ns each")
}
