import ClearingModel
import Ledger
import Wire

/// A message between shards that does not leave the node, because it leads both.
struct LocalDelivery {
    var message: CreditMessage
}

enum CreditMessage {
    case batch(CreditBatch)
    case confirmation(CreditConfirmation)
}

/// Carries credit batches and confirmations to the leader of a shard, on this node or another.
extension Engine {
    /// Whether the message left; `false` while no leader of `shard` is known or reachable. Nothing is lost then: the
    /// owner keeps it.
    func deliver(_ message: CreditMessage, to shard: ShardID) -> Bool {
        guard let leader = leaders[Int(shard.rawValue)]?.node else { return false }
        if leader == me.node {
            loopback.append(LocalDelivery(message: message))
            return true
        }
        guard isConnected(to: leader) else { return false }
        switch message {
        case .batch(let batch):
            sendFrame(.creditBatch, to: leader) { $0.raw(batch.bytes.bytes) }
        case .confirmation(let confirmation):
            sendFrame(.creditConfirmation, to: leader) { confirmation.encode(into: &$0) }
        }
        return true
    }

    func receive(_ batch: CreditBatch) {
        guard isClearing(batch.source) else { return }
        clearing(batch.destination)?.receive(batch, in: self)
    }

    func receive(_ confirmation: CreditConfirmation) {
        guard isClearing(confirmation.destination) else { return }
        clearing(confirmation.source)?.receive(confirmation, in: self)
    }

    private func isClearing(_ shard: ShardID) -> Bool { !shard.isDirectory && Int(shard.rawValue) < groups.count }

    func deliverLoopback() {
        while !loopback.isEmpty {
            let deliveries = loopback
            loopback.removeAll(keepingCapacity: true)
            for delivery in deliveries {
                switch delivery.message {
                case .batch(let batch): receive(batch)
                case .confirmation(let confirmation): receive(confirmation)
                }
            }
        }
    }

    /// A shard has a new leader: everything unconfirmed goes to it again.
    func resendCredits(toShard shard: ShardID) {
        guard shard.rawValue > 0 else { return }
        for group in clearingHeld {
            group.outgoing[Int(shard.rawValue)].target = nil
            group.mayOweCredits = true
        }
    }

    /// A connection to a node stands again: what was sent over the last one may be lost.
    func resendCredits(to node: NodeID) {
        for shard in leaders.indices where leaders[shard]?.node == node {
            resendCredits(toShard: ShardID(UInt16(shard)))
        }
    }

    // MARK: Directory changes on their way to a shard

    func requestDirectory(_ cursor: DirectoryVersion, for shard: ShardID, from node: NodeID) {
        if node == me.node { return pullDirectory(cursor, for: shard, from: node) }
        sendFrame(.directoryPull, to: node) {
            $0.id(shard)
            $0.id(cursor)
        }
    }

    /// Answers a shard's leader with the changes behind its cursor, from this node's applied directory.
    func pullDirectory(_ cursor: DirectoryVersion, for shard: ShardID, from node: NodeID) {
        guard let directory = directoryGroup?.directory,
            let update = directory.update(after: cursor, maxBytes: Limits.maximumSectionBytes / 2)
        else { return }
        if node == me.node {
            clearing(shard)?.receive(update, in: self)
        } else {
            sendFrame(.directoryUpdate, to: node) {
                $0.id(shard)
                update.encode(into: &$0)
            }
        }
    }
}
