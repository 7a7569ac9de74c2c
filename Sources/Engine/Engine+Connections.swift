import ClearingModel
import Wire

/// Connections: greeting, framing, dispatch, refusal.
extension Engine {
    // MARK: Inputs

    /// A TLS connection stands and its certificate has been checked.
    /// - Parameter dialled: the peer this node called; `nil` for an accepted connection.
    public func opened(authority: Authority, dialled: NodeID?, now: MonotonicTime) -> ConnectionID {
        let slot: Int
        if let free = freeSlots.popLast() {
            slot = free
        } else {
            slot = connections.count
            connections.append(nil)
            generations.append(0)
        }
        generations[slot] += 1
        let connection = Connection(
            id: ConnectionID(slot: slot, generation: generations[slot]), authority: authority, dialled: dialled,
            openedAt: now)
        connections[slot] = connection
        metrics.connectionsOpened += 1
        if dialled != nil { greet(connection, as: .peer) }
        return connection.id
    }

    /// Bytes came off a connection, already decrypted. They are read in place and not kept.
    public func received(_ bytes: UnsafeRawBufferPointer, on id: ConnectionID, now: MonotonicTime) {
        self.now = max(self.now, now)
        guard phase != .failed, let connection = connection(id), !connection.isClosing else { return }
        metrics.bytesReceived += UInt64(bytes.count)
        var decoder = connection.decoder
        connection.decoder = FrameDecoder()
        let error = decoder.feed(bytes) { header, payload in
            guard !connection.isClosing else { return }
            dispatch(header, payload, connection)
        }
        connection.decoder = decoder
        if let error {
            metrics.malformedFrames += 1
            refuseAndClose(connection, error.refusal, "\(error)")
        }
    }

    /// A connection is gone. Requests that came over it go on; their answers have nowhere to go, and the client asks
    /// again.
    public func closed(_ id: ConnectionID, now: MonotonicTime) {
        self.now = max(self.now, now)
        guard phase != .failed, let connection = connection(id) else { return }
        connections[id.slot] = nil
        freeSlots.append(id.slot)
        metrics.connectionsClosed += 1
        if connection.decoder.pendingBytes > 0 { metrics.truncatedFrames += 1 }
        if case .peer(let replica) = connection.kind { peerClosed(replica.node, connection) }
    }

    /// The output that waits on a connection.
    public func takeOutput(_ id: ConnectionID) -> [OutputQueue.Part] {
        guard let connection = connection(id) else { return [] }
        connection.isDirty = false
        metrics.bytesSent += UInt64(connection.output.byteCount)
        return connection.output.drain()
    }

    // MARK: Sending

    func connection(_ id: ConnectionID) -> Connection? {
        let slot = id.slot
        guard slot < connections.count, let connection = connections[slot], connection.id == id else { return nil }
        return connection
    }

    func markDirty(_ connection: Connection) {
        guard !connection.isDirty else { return }
        connection.isDirty = true
        effects.dirty.append(connection.id)
    }

    func send<M: ClientMessage>(_ message: M, request: UInt64, to connection: Connection) {
        message.encode(request: request, into: &connection.output)
        markDirty(connection)
    }

    /// Says why and closes; whatever else the connection sends is not read.
    func refuseAndClose(_ connection: Connection, _ code: RefusalCode, _ message: String, request: UInt64 = 0) {
        guard !connection.isClosing else { return }
        connection.isClosing = true
        metrics.refused[Int(code.rawValue)] += 1
        send(Refusal(code, message: message), request: request, to: connection)
        effects.close.append(connection.id)
        notice(
            .warning, "connection refused",
            [("reason", code.name), ("what", message), ("who", connection.authority.summary)])
    }

    func refuse(
        _ reply: ReplyAddress, shard: ShardID, _ code: RefusalCode, inDoubt: Bool = false, record: Int? = nil,
        message: String = ""
    ) {
        metrics.refused[Int(code.rawValue)] += 1
        guard let connection = connection(reply.connection) else { return }
        var refusal = Refusal(code, inDoubt: inDoubt, shard: shard, record: record, message: message)
        if code == .notLeader || code == .unavailable, Int(shard.rawValue) < leaders.count,
            let leader = leaders[Int(shard.rawValue)], leader.node != me.node
        {
            refusal.leader = leader.node
            if let node = configuration.topology.node(leader.node) {
                refusal.leaderAddress = "\(node.address):\(node.port)"
            }
        }
        switch code {
        case .overloaded: refusal.retryAfterMilliseconds = 20
        case .notLeader where refusal.leader == nil: refusal.retryAfterMilliseconds = 10
        case .unavailable: refusal.retryAfterMilliseconds = 20
        case .diskFull: refusal.retryAfterMilliseconds = 1_000
        default: break
        }
        send(refusal, request: reply.request, to: connection)
    }

    /// Refuses a request that was already taken, and gives its window back.
    func refuse(_ request: PendingRequest, shard: ShardID, _ code: RefusalCode, inDoubt: Bool = false) {
        release(request)
        refuse(request.reply, shard: shard, code, inDoubt: inDoubt)
    }

    func release(_ request: PendingRequest) {
        guard let connection = connection(request.reply.connection) else { return }
        connection.pendingRequests -= 1
        connection.pendingBytes -= request.bytes
    }

    // MARK: Dispatch

    private func dispatch(_ header: FrameHeader, _ body: UnsafeRawBufferPointer, _ connection: Connection) {
        do throws(WireError) {
            switch connection.kind {
            case .greeting:
                guard header.type == .hello else {
                    return refuseAndClose(connection, .malformed, "the first frame must be a hello, not \(header.type)")
                }
                greeted(connection, try Hello.decode(body))
            case .client:
                try dispatchClient(header, body, connection)
            case .peer(let replica):
                try dispatchPeer(header, body, connection, replica)
            }
        } catch {
            metrics.malformedFrames += 1
            refuseAndClose(connection, .malformed, "\(header.type): \(error)", request: header.request)
        }
    }

    private func dispatchClient(
        _ header: FrameHeader, _ body: UnsafeRawBufferPointer, _ connection: Connection
    ) throws(WireError) {
        let reply = ReplyAddress(connection: connection.id, request: header.request)
        switch header.type {
        case .submit: submit(try Submit.decode(body), bytes: header.length, reply, connection)
        case .query: query(try Query.decode(body), bytes: header.length, reply, connection)
        case .position: position(try PositionRequest.decode(body), bytes: header.length, reply, connection)
        case .cluster:
            _ = try ClusterRequest.decode(body)
            send(clusterReply(), request: header.request, to: connection)
        case .directoryChange: changeDirectory(try DirectoryChangeRequest.decode(body), reply, connection)
        case .directoryList: listDirectory(try DirectoryListRequest.decode(body), reply, connection)
        case .operate: operate(try OperateRequest.decode(body), reply, connection)
        case .goodbye: effects.close.append(connection.id)
        default:
            refuseAndClose(connection, .malformed, "a client does not send \(header.type)", request: header.request)
        }
    }

    private func greet(_ connection: Connection, as side: Hello.Side) {
        send(
            Hello(cluster: configuration.topology.cluster, side: side, replica: me, name: "suanpan node \(me)"),
            request: 0, to: connection)
    }

    private func greeted(_ connection: Connection, _ hello: Hello) {
        guard hello.cluster == configuration.topology.cluster else {
            return refuseAndClose(
                connection, .wrongCluster,
                "hello of cluster \(hello.cluster); this is \(configuration.topology.cluster)")
        }
        guard hello.speaksOurVersion else {
            return refuseAndClose(connection, .unsupportedVersion, "this node speaks version \(FrameHeader.version)")
        }
        switch hello.side {
        case .client:
            guard connection.dialled == nil else {
                return refuseAndClose(connection, .malformed, "a peer greeted as a client")
            }
            connection.kind = .client
            greet(connection, as: .node)
        case .peer, .node:
            guard let replica = hello.replica, connection.authority.node == replica.node, replica.node != me.node,
                connection.dialled == nil || connection.dialled == replica.node
            else {
                return refuseAndClose(
                    connection, .unauthorised, "hello as a node that the certificate does not name")
            }
            if connection.dialled == nil { greet(connection, as: .peer) }
            connection.kind = .peer(replica)
            peerOpened(replica, connection)
        }
    }
}

extension Authority {
    /// Who this is, for a log line.
    var summary: String {
        if let node { return "node/\(node)" }
        if let operatorName { return "operator/\(operatorName)" }
        if let regulatorName { return "regulator/\(regulatorName)" }
        if let first = participants.first { return "participant/\(first)" }
        return "nobody"
    }
}
