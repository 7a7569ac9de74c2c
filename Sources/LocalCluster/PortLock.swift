import Glibc

/// Held by `cluster up` on this machine from choosing ports until its nodes listen on them, so that two clusters that are made
/// at the same moment do not choose the same block.
public final class PortLock {
    public static let path = "/tmp/suanpan-ports.lock"
    private let descriptor: Int32

    /// Waits for whoever has it. Where the file cannot be used, or somebody keeps it longer, goes on without: then at worst one
    /// cluster finds its ports taken and says so.
    public init(seconds: Int = 60) {
        // No link is followed: /tmp is everybody's. To read is enough, so that another user's file serves too.
        descriptor = open(Self.path, O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o666)
        guard descriptor >= 0 else { return }
        let deadline = Deadline(seconds: seconds)
        while flock(descriptor, LOCK_EX | LOCK_NB) != 0, !deadline.hasPassed {
            Deadline.pause(milliseconds: 20)
        }
    }

    public func release() {
        if descriptor >= 0 { flock(descriptor, LOCK_UN) }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }
}
