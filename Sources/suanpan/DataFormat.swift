import ClearingModel
import Glibc
import LocalCluster
import LogFormat

/// The identity of a node's data directory: written when a disk is new, read and checked at every start.
enum DataFormat {
    static func path(_ directory: String) -> String { "\(directory)/\(FileName.identity)" }

    /// Writes the identity into a directory that has none.
    static func write(_ directory: String, _ cluster: ClusterID, _ replica: ReplicaID) throws {
        mkdir(directory, 0o700)
        let path = path(directory)
        let bytes = NodeIdentity(cluster: cluster, replica: replica).encoded
        // O_EXCL: an identity is never overwritten.
        let file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard file >= 0 else {
            guard errno == EEXIST else { throw LaunchError.file(path: path, action: "create", code: errno) }
            throw LaunchError.configuration("\(directory) has an identity already: it is some node's disk")
        }
        defer { close(file) }
        guard Glibc.write(file, bytes, bytes.count) == bytes.count, fsync(file) == 0 else {
            let code = errno
            unlink(path)
            throw LaunchError.file(path: path, action: "write", code: code)
        }
        let parent = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        defer { close(parent) }
        guard parent >= 0, fsync(parent) == 0 else {
            throw LaunchError.file(path: directory, action: "sync", code: errno)
        }
    }

    /// Reads the identity and checks that it is this node's; what it says of the incarnation is the truth.
    static func read(_ directory: String, cluster: ClusterID, node: NodeID) throws -> ReplicaID {
        let path = path(directory)
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else {
            guard errno == ENOENT else { throw LaunchError.file(path: path, action: "read", code: errno) }
            throw LaunchError.configuration(
                """
                the data directory \(directory) of node \(node) is empty or not a node's: its disk was lost, and with it what \
                the node promised to its shards. It must not start as the same replica again. \
                'suanpan cluster rejoin \(node)' gives it a new disk as a new replica \
                (outside a local cluster: 'suanpan node --config FILE --format --incarnation NEXT')
                """)
        }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: 16_384)
        let count = Glibc.read(file, &bytes, bytes.count)
        guard let identity = NodeIdentity(Array(bytes.prefix(max(count, 0)))) else {
            throw LaunchError.configuration(
                "\(path) is damaged: check the disk; 'suanpan cluster rejoin \(node) --wipe' gives the node a new one")
        }
        guard identity.cluster == cluster else {
            throw LaunchError.configuration(
                "\(directory) belongs to cluster \(identity.cluster), this node to \(cluster): "
                    + "point the node at its own data directory")
        }
        guard identity.replica.node == node else {
            throw LaunchError.configuration(
                "\(directory) belongs to node \(identity.replica.node), this is node \(node): give each its own")
        }
        return identity.replica
    }
}
