import Audit
import ClearingModel
import Engine
import Ledger
import LogFormat
import Raft

/// What the checker keeps of one replica of every group: a node with one particular disk.
final class NodeTrack {
    let replica: ReplicaID
    let files: DiskFiles
    let log: LogFollower
    /// `nil` while the process is down.
    @exclusivity(unchecked) var engine: (any EngineView)?
    /// By place among the groups held: the group's stamp after the last turn.
    @exclusivity(unchecked) var stamps: [UInt64]
    /// By shard: the group after the last turn of this life; `nil` before its first.
    @exclusivity(unchecked) var last: [GroupInspection?]
    /// By shard: the membership in force after the last turn of this life, and where it stands.
    @exclusivity(unchecked) var memberships: [(index: LogIndex, membership: Membership)?]
    /// By shard: term and vote that the disk was made to remember.
    @exclusivity(unchecked) var durableVotes: [DurableVote]
    /// By shard: term and vote that this life has shown, or found on its disk.
    @exclusivity(unchecked) var votes: [DurableVote]
    /// By shard: the newest checkpoint whose name is durable.
    @exclusivity(unchecked) var checkpoints: [LogIndex]
    /// Renamed, and the directory not synced yet.
    var namedCheckpoints: [(shard: ShardID, index: LogIndex)] = []
    /// By shard, then by the other shard: where their streams stood after the last turn.
    @exclusivity(unchecked) var streams: [[StreamInspection]]
    /// The disk was harmed and is not known to be repaired.
    @exclusivity(unchecked) var isDamaged = false
    /// It was harmed at some time: some of that may show late.
    var wasDamaged = false
    /// An older image was put back: what it said before counts for nothing.
    @exclusivity(unchecked) var isRolledBack = false

    init(_ replica: ReplicaID, disk: any DiskView, topology: ClusterTopology) {
        self.replica = replica
        files = DiskFiles(disk)
        let count = topology.shardCount
        log = LogFollower(replica: replica, cluster: topology.cluster, shardCount: count)
        stamps = Array(repeating: 0, count: count + 1)
        last = Array(repeating: nil, count: count + 1)
        memberships = Array(repeating: nil, count: count + 1)
        durableVotes = Array(repeating: DurableVote(), count: count + 1)
        votes = durableVotes
        checkpoints = Array(repeating: .zero, count: count + 1)
        streams = Array(repeating: Array(repeating: StreamInspection(), count: count + 1), count: count + 1)
    }

    /// A process starts on the disk.
    func begin(_ engine: any EngineView) {
        self.engine = engine
        votes = durableVotes
        for shard in last.indices {
            stamps[shard] = 0
            last[shard] = nil
            memberships[shard] = nil
            for other in streams[shard].indices { streams[shard][other] = StreamInspection() }
        }
        log.forgetScan()
    }

    /// A harmed disk starts with less than it was made to remember, and knows it: this is what counts from now on.
    func forgetVote(of group: GroupInspection) {
        let shard = Int(group.shard.rawValue)
        durableVotes[shard].term = group.raft.term
        durableVotes[shard].vote = group.raft.vote
        votes[shard] = durableVotes[shard]
    }

    /// Takes over what the disk was made to remember, if that is something new.
    func rememberVotes() {
        guard log.takeVotesChanged() else { return }
        for shard in durableVotes.indices {
            let found = log.vote(of: ShardID(UInt16(shard)))
            if found.term >= durableVotes[shard].term { durableVotes[shard] = found }
        }
    }
}
