import ClearingModel
import Engine
import Ledger
import Raft
import Wire

/// What the checker looks at in a node's process: an engine, or what a test shows in its place.
public protocol EngineView: AnyObject {
    var inspectedGroups: Int { get }
    func inspectionStamp(_ place: Int) -> UInt64
    func inspectGroup(_ place: Int) -> GroupInspection
    func membership(of shard: ShardID) -> Membership
    func term(of shard: ShardID, at index: LogIndex) -> Term?
    func forEachStream(of shard: ShardID, _ body: (ShardID, StreamInspection) -> Void)
    func encodedState(of shard: ShardID) -> Slab?
    func stateHash(of shard: ShardID) -> UInt64?
    func indexHit(of id: TransactionID, in shard: ShardID) -> IndexHit?
    func isExpired(_ id: TransactionID, in shard: ShardID) -> Bool
    func forEachAvailable(in shard: ShardID, _ body: (ParticipantID, Int128) -> Void)
    func inspectResources() -> ResourceInspection
}

extension Engine: EngineView {}

extension EngineView {
    /// How far a group's state has got by now: since its last turn an engine may have applied entries that a read brought.
    func applied(in shard: ShardID) -> LogIndex? {
        (0..<inspectedGroups).lazy.map { self.inspectGroup($0) }.first { $0.shard == shard }?.applied
    }
}
