import Audit
import ClearingModel
import Engine
import LogFormat

/// What the checker keeps of one replica of every group: a node with one particular disk.
final class NodeTrack {
    let replica: ReplicaID
    let files: DiskFiles
    let log: LogFollower
    /// `nil` while the process is down.
    var engine: Engine?
    /// By shard: the group after the last turn of this life; `nil` before its first.
    var last: [GroupInspection?]
    /// By shard: term and vote that the disk was made to remember.
    var durableVotes: [DurableVote]
    /// By shard: term and vote that this life has shown, or found on its disk.
    var votes: [DurableVote]
    /// By shard: the newest checkpoint whose name is durable.
    var checkpoints: [LogIndex]
    /// Renamed, and the directory not synced yet.
    var namedCheckpoints: [(shard: ShardID, index: LogIndex)] = []
    /// By shard, then by the other shard: the incoming cursor after the last turn.
    var cursors: [[BatchNumber]]
    /// The disk was harmed and is not known to be repaired.
    var isDamaged = false
    /// An older image was put back: what it said before counts for nothing.
    var isRolledBack = false

    init(_ replica: ReplicaID, disk: any DiskView, topology: ClusterTopology) {
        self.replica = replica
        files = DiskFiles(disk)
        let count = topology.shardCount
        log = LogFollower(replica: replica, cluster: topology.cluster, shardCount: count)
        last = Array(repeating: nil, count: count + 1)
        durableVotes = Array(repeating: DurableVote(), count: count + 1)
        votes = durableVotes
        checkpoints = Array(repeating: .zero, count: count + 1)
        cursors = Array(repeating: Array(repeating: .zero, count: count + 1), count: count + 1)
    }

    /// A process starts on the disk.
    func begin(_ engine: Engine) {
        self.engine = engine
        votes = durableVotes
        for shard in last.indices {
            last[shard] = nil
            for other in cursors[shard].indices { cursors[shard][other] = .zero }
        }
        log.forgetScan()
    }

    /// Takes over what the disk was made to remember.
    func rememberVotes() {
        for shard in durableVotes.indices {
            let found = log.vote(of: ShardID(UInt16(shard)))
            if found.term >= durableVotes[shard].term { durableVotes[shard] = found }
        }
    }
}
