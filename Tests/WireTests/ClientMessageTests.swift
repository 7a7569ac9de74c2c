import ClearingModel
import Testing
import Wire

@Suite("Messages of the client protocol")
struct ClientMessageTests {
    static func body(_ message: some ClientMessage) -> [UInt8] {
        var writer = WireWriter()
        message.encodeBody(into: &writer)
        return writer.bytes
    }

    static func decode<M: ClientMessage>(_: M.Type, _ bytes: [UInt8]) throws -> M {
        try bytes.withUnsafeBytes { bytes throws(WireError) in try M.decode(bytes) }
    }

    /// Decodes and encodes again; the bytes must be the same.
    static func again<M: ClientMessage>(_ message: M) throws -> [UInt8] {
        body(try decode(M.self, body(message)))
    }

    @Test("each message comes back byte by byte")
    func roundTrip() throws {
        for message in Samples.all {
            #expect(try Self.again(message) == Self.body(message), "\(type(of: message))")
        }
    }

    @Test("fields come back as they were")
    func fields() throws {
        #expect(try Self.decode(Hello.self, Self.body(Samples.hello)) == Samples.hello)
        #expect(try Self.decode(Refusal.self, Self.body(Samples.refusal)) == Samples.refusal)
        #expect(try Self.decode(PositionReply.self, Self.body(Samples.position)) == Samples.position)
        #expect(try Self.decode(ClusterReply.self, Self.body(Samples.clusterReply)) == Samples.clusterReply)
        for operation in Samples.operations {
            #expect(try Self.decode(OperateRequest.self, Self.body(OperateRequest(operation))).operation == operation)
        }
    }

    @Test("a message that ends early, or goes on, is an error")
    func truncated() {
        func check<M: ClientMessage>(_ message: M) {
            let whole = Self.body(message)
            for length in 0..<whole.count {
                #expect(throws: WireError.self, "\(M.self) cut at \(length)") {
                    try Self.decode(M.self, Array(whole[..<length]))
                }
            }
            #expect(throws: WireError.self) { try Self.decode(M.self, whole + [0]) }
        }
        // The whole topology cut at each of its 16 thousand bytes would take long and show nothing new.
        for message in Samples.all where !(message is ClusterReply) { check(message) }
    }

    @Test("garbage is refused or read, never a trap", arguments: UInt64(1)...40)
    func garbage(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        func check<M: ClientMessage>(_ message: M, _ random: inout SeededRandom) {
            var bytes = Self.body(message)
            for _ in 0..<(1 + random.below(3)) where !bytes.isEmpty {
                bytes[Int(random.below(UInt64(min(bytes.count, 400))))] = UInt8(truncatingIfNeeded: random.next())
            }
            _ = try? Self.decode(M.self, bytes)
            let noise = (0..<random.below(200)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            _ = try? Self.decode(M.self, noise)
        }
        for message in Samples.all { check(message, &random) }
        let noise = (0..<random.below(300)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        noise.withUnsafeBytes {
            _ = try? Submit.decode($0)
            _ = try? Query.decode($0)
            _ = try? Decisions.decode($0)
        }
    }

    @Test("values that the format does not have are named")
    func invalidValues() {
        func error<M: ClientMessage>(_ message: M, _ change: (inout [UInt8]) -> Void) -> WireError? {
            var bytes = Self.body(message)
            change(&bytes)
            do {
                _ = try Self.decode(M.self, bytes)
                return nil
            } catch { return error as? WireError }
        }
        #expect(error(Samples.hello) { $0[0] = 9 } == .invalid(field: "hello versions", value: 9))
        #expect(error(Samples.hello) { $0[20] = 7 } == .invalid(field: "hello side", value: 7))
        #expect(error(Samples.refusal) { $0[0] = 99 } == .invalid(field: "refusal code", value: 99))
        #expect(error(Samples.position) { $0[6] = 99 } == .invalid(field: "participant status", value: 99))
        #expect(error(OperateRequest(Samples.operations[0])) { $0[0] = 50 } == .invalid(field: "operation", value: 50))
        #expect(
            error(DirectoryListRequest(.participants)) {
                $0[9] = 0
                $0[10] = 0
            } == .invalid(field: "page size", value: 0))
    }
}

@Suite("Records on the wire")
struct RecordMessageTests {
    static func frame(_ build: (inout WireWriter) -> Void) throws -> (FrameHeader, [UInt8]) {
        var writer = WireWriter()
        build(&writer)
        let header = try writer.bytes.withUnsafeBytes { try FrameHeader.parse($0).get() }
        #expect(header.length == writer.count)
        return (header, Array(writer.bytes[FrameHeader.size...]))
    }

    @Test("a submit carries its records unchanged", arguments: [1, 2, 100, Limits.maximumRecords])
    func submit(count: Int) throws {
        let records = (0..<UInt64(count)).map(Samples.instruction)
        let (header, body) = try Self.frame { Submit.encode(request: 0xABCD, shard: ShardID(3), records, into: &$0) }
        #expect(header.type == .submit && header.request == 0xABCD)
        try body.withUnsafeBytes { body in
            let submit = try Submit.decode(body)
            #expect(submit.shard == ShardID(3) && submit.count == count)
            #expect(submit.records.count == count * 128)
            #expect(submit[count - 1] == records[count - 1])
        }
    }

    @Test("one record by value is the same frame")
    func single() throws {
        let record = Samples.instruction(5)
        let (_, one) = try Self.frame { Submit.encode(request: 1, shard: ShardID(3), record, into: &$0) }
        let (_, many) = try Self.frame { Submit.encode(request: 1, shard: ShardID(3), [record], into: &$0) }
        #expect(one == many)
        #expect(one.count == 8 + 128)
    }

    @Test("counts that do not fit the bytes are errors")
    func badCounts() throws {
        let (_, body) = try Self.frame {
            Submit.encode(request: 1, shard: ShardID(3), Samples.instruction(1), into: &$0)
        }
        func error(_ change: (inout [UInt8]) -> Void) -> WireError? {
            var bytes = body
            change(&bytes)
            return bytes.withUnsafeBytes { bytes in
                do throws(WireError) {
                    _ = try Submit.decode(bytes)
                    return nil
                } catch { return error }
            }
        }
        #expect(error { $0[4] = 2 } == .truncated(wanted: 256, left: 128))
        #expect(error { $0[4] = 0 } == .invalid(field: "record count", value: 0))
        #expect(error { $0[7] = 1 } == .invalid(field: "record count", value: 0x0100_0001))
        #expect(error { $0[2] = 1 } == .invalid(field: "request flags", value: 1))
        #expect(error { $0.append(0) } == .trailingBytes(1))
        #expect(error { _ in } == nil)
    }

    @Test("decisions are cut from an entry's result")
    func decisions() throws {
        let all = (0..<10).map(Samples.decision)
        let (header, body) = try Self.frame {
            SubmitReply.encode(request: 7, shard: ShardID(3), all, 4..<7, into: &$0)
        }
        #expect(header.type == .submitReply && body.count == 8 + 3 * 32)
        try body.withUnsafeBytes { body in
            let decisions = try Decisions.decode(body)
            #expect((0..<decisions.count).map { decisions[$0] } == Array(all[4..<7]))
        }
    }

    @Test("a query carries ids")
    func query() throws {
        let ids = (0..<3).map { Samples.instruction($0).id }
        let (header, body) = try Self.frame { Query.encode(request: 7, shard: ShardID(3), ids, into: &$0) }
        #expect(header.type == .query)
        try body.withUnsafeBytes { body in
            let query = try Query.decode(body)
            #expect((0..<query.count).map { query[$0] } == ids)
        }
    }
}
