import ClearingModel
import Ledger
import Raft
import Wire

/// Traffic between nodes: Raft messages, notices, credits, directory updates.
extension Engine {
    // MARK: Links

    private func slot(of node: NodeID) -> Int? { peers.firstIndex { $0.node == node } }

    func peerOpened(_ replica: ReplicaID, _ connection: Connection) {
        guard let slot = slot(of: replica.node) else {
            return refuseAndClose(connection, .unauthorised, "node \(replica.node) is not in the topology")
        }
        if let old = peers[slot].connection.flatMap(self.connection) {
            // The newer connection wins: the old one is a half-open leftover.
            old.saidGoodbye = true
            if outgoing?.connection == old.id { dropOutgoing("connection replaced") }
            if incoming?.connection == old.id, incoming?.machine == nil {
                dropIncoming("connection replaced", refuse: false)
            }
            old.isClosing = true
            effects.close.append(old.id)
        }
        peers[slot].connection = connection.id
        peers[slot].incarnation = replica.incarnation
        notice(.info, "peer connected", [("peer", "\(replica)")])
        resendCredits(to: replica.node)
        sendNotice(to: slot)
    }

    func peerClosed(_ node: NodeID, _ connection: Connection) {
        guard let slot = slot(of: node), peers[slot].connection == connection.id else { return }
        peers[slot].connection = nil
        peers[slot].small = OutputQueue()
        peers[slot].large = []
        peers[slot].notice = nil
        if outgoing?.connection == connection.id { dropOutgoing("connection lost") }
        if incoming?.connection == connection.id, incoming?.machine == nil {
            dropIncoming("connection lost", refuse: false)
        }
        if connection.saidGoodbye { return notice(.info, "peer left", [("peer", "\(node)")]) }
        notice(.warning, "peer lost", [("peer", "\(node)")])
        for group in held {
            group.raft.peerLost(node, now: now, &raftEffects)
            process(group)
        }
    }

    /// Whether a connection to this peer stands; the node dials while it does not.
    public func isConnected(to node: NodeID) -> Bool {
        guard let slot = slot(of: node) else { return true }
        return peers[slot].connection != nil
    }

    // MARK: Sending

    func send(_ message: RaftMessage) {
        guard let slot = slot(of: message.to.node), peers[slot].connection != nil else { return }
        if case .append(let append) = message.body, !append.entries.isEmpty {
            peers[slot].large.append(message)
        } else {
            message.encode(into: &peers[slot].small)
        }
    }

    /// Frames what waits for a peer: entries first, so that the small messages behind them find them there.
    func flush(peer slot: Int) {
        guard let connection = peers[slot].connection.flatMap(connection),
            !peers[slot].small.isEmpty || !peers[slot].large.isEmpty
        else { return }
        for message in peers[slot].large {
            var queue = OutputQueue()
            message.encode(into: &queue)
            frame(queue, on: connection)
        }
        peers[slot].large.removeAll(keepingCapacity: true)
        if !peers[slot].small.isEmpty {
            frame(peers[slot].small, on: connection)
            peers[slot].small = OutputQueue()
        }
        markDirty(connection)
    }

    private func frame(_ messages: OutputQueue, on connection: Connection) {
        var messages = messages
        let length = FrameHeader.size + messages.byteCount
        precondition(length <= Limits.maximumFrameBytes, "a Raft frame over the limit")
        connection.output.write { $0.frameHeader(length: length, type: .raft, request: 0) }
        connection.output.write(contentsOf: messages.drain())
    }

    /// Writes a frame to a peer; nothing where no connection stands: every such message is sent again by its owner.
    func sendFrame(_ type: FrameType, to node: NodeID, _ body: (inout WireWriter) -> Void) {
        guard let slot = slot(of: node), let connection = peers[slot].connection.flatMap(connection) else { return }
        connection.output.write { $0.frame(type, request: 0, body) }
        markDirty(connection)
    }

    // MARK: Receiving

    func dispatchPeer(
        _ header: FrameHeader, _ body: UnsafeRawBufferPointer, _ connection: Connection, _ replica: ReplicaID
    ) throws(WireError) {
        var reader = WireReader(body)
        switch header.type {
        case .raft:
            while reader.left > 0 {
                let message = try RaftMessage.decode(&reader)
                guard message.from == replica, let group = group(message.group) else { continue }
                group.raft.step(message, now: now, wall: wall, &raftEffects)
                process(group)
            }
        case .notice:
            receive(try NodeNotice.decode(&reader), from: replica.node)
        case .creditBatch:
            receive(try CreditBatch(decoding: body, key: hashKey))
        case .creditConfirmation:
            receive(try CreditConfirmation(decoding: body))
        case .directoryPull:
            let shard: ShardID = try reader.id()
            let cursor: DirectoryVersion = try reader.id()
            try reader.expectEnd()
            pullDirectory(cursor, for: shard, from: replica.node)
        case .directoryUpdate:
            let shard: ShardID = try reader.id()
            clearing(shard)?.receive(try DirectoryUpdate(decoding: try reader.raw(reader.left)), in: self)
        case .snapshotChunk:
            let chunk = try SnapshotChunk(decoding: &reader)
            receive(chunk, try reader.raw(reader.left), from: replica, connection)
        case .snapshotReply:
            receive(try SnapshotReply(decoding: &reader), from: replica)
        case .recordRequest: try receiveRecordRequest(&reader, from: replica.node)
        case .repairRequest: try receiveRepairRequest(&reader, from: replica.node)
        case .repairReply: try receiveRepairReply(&reader, from: replica.node)
        case .recordReply: try receiveRecordReply(&reader, from: replica.node)
        case .goodbye:
            connection.saidGoodbye = true
        default:
            refuseAndClose(connection, .malformed, "a peer does not send \(header.type)")
        }
    }

    // MARK: Notices

    func sendNotices() {
        lastNotice = now
        for slot in peers.indices { sendNotice(to: slot) }
    }

    private func sendNotice(to slot: Int) {
        guard let connection = peers[slot].connection.flatMap(connection) else { return }
        let notice = NodeNotice(
            isDiskFull: isDiskFull, directoryVersion: directoryGroup?.directory.version ?? .zero,
            leads: held.filter { $0.isLeader }.map { .init(shard: $0.shard, term: $0.raft.term) },
            hashes: held.flatMap(\.stateHashes))
        connection.output.write { $0.frame(.notice, request: 0) { notice.encode(into: &$0) } }
        markDirty(connection)
    }

    private func receive(_ notice: NodeNotice, from node: NodeID) {
        guard let slot = slot(of: node) else { return }
        peers[slot].directoryVersion = max(peers[slot].directoryVersion, notice.directoryVersion)
        for lead in notice.leads {
            let before =
                leaders.indices.contains(Int(lead.shard.rawValue)) ? leaders[Int(lead.shard.rawValue)]?.node : nil
            learnLeader(lead.shard, node, lead.term)
            if before != node { resendCredits(toShard: lead.shard) }
        }
        let isNews = notice.hashes != peers[slot].notice?.hashes
        peers[slot].notice = notice
        if isNews {
            for hash in notice.hashes { compareStates(of: hash.shard, at: hash.index) }
        }
    }

    /// Whether a node has said that its disk is full.
    func isDiskFull(on node: NodeID) -> Bool { slot(of: node).map { peers[$0].notice?.isDiskFull ?? false } ?? false }

    /// `nil` where this node has no replica of the directory, or one whose state is lost: nobody may take that for empty.
    var directoryGroup: DirectoryGroup? {
        guard let group = groups[0] as? DirectoryGroup, !group.lacksState else { return nil }
        return group
    }

    /// The newest directory version that any node has told of.
    var newestDirectory: (version: DirectoryVersion, node: NodeID) {
        var newest = (version: directoryGroup?.directory.version ?? .zero, node: me.node)
        for peer in peers where peer.connection != nil && peer.directoryVersion > newest.version {
            newest = (peer.directoryVersion, peer.node)
        }
        return newest
    }
}
