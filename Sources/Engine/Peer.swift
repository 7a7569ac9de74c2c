import ClearingModel
import Raft
import Wire

/// What the engine keeps about one other node: its connection, and the messages of this turn that wait for it.
struct Peer {
    let node: NodeID
    var connection: ConnectionID?
    /// As its last hello said.
    var incarnation: Incarnation?
    /// Small Raft messages of this turn (heartbeats, acknowledgements): one frame for all shards.
    var small = OutputQueue()
    /// Messages with entries, one frame each.
    var large: [RaftMessage] = []
    var directoryVersion = DirectoryVersion.zero
    /// The last notice, for the shards it leads.
    var notice: NodeNotice?
}
