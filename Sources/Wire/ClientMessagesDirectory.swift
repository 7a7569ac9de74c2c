import ClearingModel

/// One change of the directory: a participant or mandate as it shall be from now on.
public enum DirectoryChange: Hashable, Sendable {
    /// Added, or replaced where the id is known.
    case participant(Participant)
    /// Added, or replaced where instructing participant and debtors are the same.
    case mandate(Mandate)
}

/// Why the directory did not take a change. Nothing of the same request is taken then.
public enum DirectoryFault: UInt8, Error, Sendable, CaseIterable {
    /// Participant 0 is nobody.
    case invalidID = 1
    /// The currency is no three-digit ISO 4217 code.
    case invalidCurrency = 2
    /// Limit or funding is larger than `Limits.maximumParticipantLimit`, or a mandate's amount than
    /// `Limits.maximumAmount`.
    case amountTooLarge = 3
    case unknownSponsor = 4
    case unknownInstructing = 5
    case unknownDebtor = 6
    /// Kind and currency of a participant never change.
    case immutableField = 7
    case tooManyParticipants = 8
    case tooManyMandates = 9
    /// The mandate allows kinds that are not built.
    case unknownKinds = 10

    /// What is wrong and what to do, for people.
    public var message: String {
        switch self {
        case .invalidID: "participant 0 is nobody; number participants from 1"
        case .invalidCurrency: "the currency must be an ISO 4217 numeric code from 1 to 999"
        case .amountTooLarge: "the amount is above what the cluster can hold"
        case .unknownSponsor: "the sponsor is not in the directory; add it first"
        case .unknownInstructing: "the instructing participant is not in the directory; add it first"
        case .unknownDebtor: "the debtor is not in the directory; add it first"
        case .immutableField: "kind and currency of a participant never change; add a new participant"
        case .tooManyParticipants: "the directory holds \(Limits.maximumParticipants) participants at most"
        case .tooManyMandates: "the directory holds \(Limits.maximumMandates) mandates at most"
        case .unknownKinds: "the mandate allows instruction kinds that this version does not have"
        }
    }
}

/// Changes of the directory, in order. Operators only; sent to the leader of the directory.
public struct DirectoryChangeRequest: ClientMessage, Hashable {
    public static let frameType = FrameType.directoryChange
    /// Changes in one request.
    public static let maximumChanges = 2_000

    public var changes: [DirectoryChange]
    public init(changes: [DirectoryChange]) { self.changes = changes }

    public func encodeBody(into writer: inout WireWriter) {
        writer.u32(UInt32(changes.count))
        for change in changes { writer.directoryChange(change) }
    }

    public static func decode(_ body: UnsafeRawBufferPointer) throws(WireError) -> DirectoryChangeRequest {
        var reader = WireReader(body)
        let count = try reader.count("directory changes", atMost: maximumChanges)
        var changes: [DirectoryChange] = []
        changes.reserveCapacity(count)
        for _ in 0..<count { changes.append(try reader.directoryChange()) }
        try reader.expectEnd()
        return DirectoryChangeRequest(changes: changes)
    }
}

/// The directory committed what it took of a request.
public struct DirectoryChangeReply: ClientMessage, Hashable {
    public static let frameType = FrameType.directoryChangeReply

    public struct Failure: Hashable, Sendable {
        /// Which change, counted from 0.
        public var change: Int
        public var fault: DirectoryFault
        public init(change: Int, fault: DirectoryFault) {
            self.change = change
            self.fault = fault
        }
    }

    /// The directory's version after the request.
    public var version: DirectoryVersion
    /// Changes that were not taken; empty = all were.
    public var failures: [Failure]

    public init(version: DirectoryVersion, failures: [Failure] = []) {
        self.version = version
        self.failures = failures
    }

    public func encodeBody(into writer: inout WireWriter) {
        writer.id(version)
        writer.u32(UInt32(failures.count))
        for failure in failures {
            writer.u32(UInt32(failure.change))
            writer.u8(failure.fault.rawValue)
        }
    }

    public static func decode(_ body: UnsafeRawBufferPointer) throws(WireError) -> DirectoryChangeReply {
        var reader = WireReader(body)
        var reply = DirectoryChangeReply(version: try reader.id())
        let count = try reader.count("directory failures", atMost: DirectoryChangeRequest.maximumChanges)
        for _ in 0..<count {
            let change = try reader.count("failed change", atMost: DirectoryChangeRequest.maximumChanges - 1)
            reply.failures.append(Failure(change: change, fault: try reader.value("directory fault")))
        }
        try reader.expectEnd()
        return reply
    }
}

/// Asks for a page of the directory.
public struct DirectoryListRequest: ClientMessage, Hashable {
    public static let frameType = FrameType.directoryList
    /// Items in one page.
    public static let maximumItems = 4_096

    public enum Subject: UInt8, Sendable, CaseIterable {
        case participants = 1
        case mandates = 2
    }

    public var subject: Subject
    /// `next` of the page before; 0 for the first page.
    public var cursor: UInt64
    public var maximumItems: Int

    public init(_ subject: Subject, cursor: UInt64 = 0, maximumItems: Int = DirectoryListRequest.maximumItems) {
        self.subject = subject
        self.cursor = cursor
        self.maximumItems = maximumItems
    }

    public func encodeBody(into writer: inout WireWriter) {
        writer.u8(subject.rawValue)
        writer.u64(cursor)
        writer.u32(UInt32(maximumItems))
    }

    public static func decode(_ body: UnsafeRawBufferPointer) throws(WireError) -> DirectoryListRequest {
        var reader = WireReader(body)
        let request = DirectoryListRequest(
            try reader.value("directory subject"), cursor: try reader.u64(),
            maximumItems: try reader.count("page size", atMost: maximumItems))
        guard request.maximumItems >= 1 else { throw .invalid(field: "page size", value: 0) }
        try reader.expectEnd()
        return request
    }
}

/// A page of the directory, in the order of participant ids, or of (instructing, debtors) for mandates.
public struct DirectoryListReply: ClientMessage, Hashable {
    public static let frameType = FrameType.directoryListReply

    public var version: DirectoryVersion
    /// Cursor of the next page; 0 = this was the last one.
    public var next: UInt64
    public var items: [DirectoryChange]

    public init(version: DirectoryVersion, next: UInt64, items: [DirectoryChange]) {
        self.version = version
        self.next = next
        self.items = items
    }

    public func encodeBody(into writer: inout WireWriter) {
        writer.id(version)
        writer.u64(next)
        writer.u32(UInt32(items.count))
        for item in items { writer.directoryChange(item) }
    }

    public static func decode(_ body: UnsafeRawBufferPointer) throws(WireError) -> DirectoryListReply {
        var reader = WireReader(body)
        var reply = DirectoryListReply(version: try reader.id(), next: try reader.u64(), items: [])
        let count = try reader.count("directory items", atMost: DirectoryListRequest.maximumItems)
        reply.items.reserveCapacity(count)
        for _ in 0..<count { reply.items.append(try reader.directoryChange()) }
        try reader.expectEnd()
        return reply
    }
}
