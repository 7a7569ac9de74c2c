import ClearingModel

/// Whose a data directory is. Written when the directory is prepared for a node, so that a wiped disk is never taken for
/// the node's own: a directory without it is refused.
public struct NodeIdentity: Hashable, Sendable {
    public var cluster: ClusterID
    public var replica: ReplicaID

    public init(cluster: ClusterID, replica: ReplicaID) {
        self.cluster = cluster
        self.replica = replica
    }

    /// The bytes of a new identity file (`FileName.identity`), of a directory that was never opened.
    public var encoded: [UInt8] {
        let slab = IdentityFile(cluster: cluster, me: replica, life: 0).encoded()
        return withExtendedLifetime(slab) { Array(slab.bytes) }
    }

    /// Reads an identity file; `nil` where no copy in it is whole.
    public init?(_ bytes: [UInt8]) {
        guard let file = bytes.withUnsafeBytes({ IdentityFile($0) }) else { return nil }
        self.init(cluster: file.cluster, replica: file.me)
    }
}
