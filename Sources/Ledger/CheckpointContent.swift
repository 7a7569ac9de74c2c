import Wire

/// What a checkpoint holds of a group. The parts are written as they are, one behind the other: joining them would copy as
/// many megabytes on the loop, and hold them twice.
public struct CheckpointContent: Sendable {
    /// The state, the same bytes on every replica.
    public var state: Slab
    /// Parts of the transaction index, at most 1 MiB each; none for the directory.
    public var index: [Slab]

    public init(state: Slab, index: [Slab] = []) {
        self.state = state
        self.index = index
    }

    /// The sections of a checkpoint file, each as what stands one behind the other in it (docs/LOG.md).
    public var sections: [[Slab]] { index.isEmpty ? [[state]] : [[state], index] }
}
