import ClearingModel

/// The 64 bytes in front of a data entry's payload: docs/ENTRIES.md, "Header".
struct EntryHead {
    static let size = 64
    static let recordSize = 128

    var records: Int
    var ledgerTime: UInt64
    var firstOrdinal: UInt64
    var isFlush: Bool
    var window: WindowID
    var sections: UnsafeRawBufferPointer
    var sectionCount: Int

    /// Checks the header against the payload's length and against every limit.
    init(_ payload: UnsafeRawBufferPointer) throws(DecodeError) {
        guard payload.count >= Self.size else { throw DecodeError("\(payload.count) bytes are no entry") }
        let schema: UInt16 = payload.little(0)
        guard schema == 1, payload.little(2, UInt16.self) == 128 else {
            throw DecodeError("schema \(schema) with records of \(payload.little(2, UInt16.self)) bytes")
        }
        records = Int(payload.little(4, UInt32.self))
        guard records <= Limits.maximumRecords else { throw DecodeError("\(records) records") }
        ledgerTime = payload.little(8)
        firstOrdinal = payload.little(16)
        guard firstOrdinal <= 1 << 40 - UInt64(records) else { throw DecodeError("ordinal \(firstOrdinal)") }
        let sectionBytes = Int(payload.little(24, UInt32.self))
        let flags: UInt32 = payload.little(28)
        guard flags <= 1 else { throw DecodeError("unknown flags \(flags)") }
        isFlush = flags == 1
        window = WindowID(scheme: SchemeID(payload.little(32)), number: payload.little(36))
        sectionCount = Int(payload.little(34, UInt16.self))
        guard payload.slice(40, 24).allSatisfy({ $0 == 0 }) else {
            throw DecodeError("the header's reserved bytes are not zero")
        }
        let start = Self.size + records * Self.recordSize
        guard sectionBytes <= Limits.maximumSectionBytes, start + sectionBytes == payload.count else {
            throw DecodeError(
                "\(records) records and \(sectionBytes) section bytes do not make the \(payload.count) bytes that are there"
            )
        }
        sections = payload.slice(start, sectionBytes)
    }

    /// Calls `body` with the type and the bytes of each section.
    func forEachSection(
        _ body: (UInt16, UnsafeRawBufferPointer) throws(DecodeError) -> Void
    ) throws(DecodeError) {
        var reader = ByteReader(sections)
        var count = 0
        while reader.left > 0 {
            let type: UInt16 = try reader.take("a section's type")
            try reader.zero(UInt16.self, "a section's reserved field")
            let length = try reader.count("a section's length", atMost: Limits.maximumSectionBytes)
            try body(type, try reader.take(length, "a section"))
            count += 1
        }
        guard count == sectionCount else {
            throw DecodeError("\(count) sections where the header says \(sectionCount)")
        }
    }
}

/// Where a stream of credits stands.
struct StreamCursor: Equatable {
    var number: UInt64 = 0
    var sourceIndex: UInt64 = 0
    var sourceTerm: UInt64 = 0
    var hash: UInt64 = 0

    init() {}

    init(number: UInt64, sourceIndex: UInt64, sourceTerm: UInt64, hash: UInt64) {
        self.number = number
        self.sourceIndex = sourceIndex
        self.sourceTerm = sourceTerm
        self.hash = hash
    }

    init(_ reader: inout ByteReader) throws(DecodeError) {
        number = try reader.take("a cursor")
        sourceIndex = try reader.take("a cursor")
        sourceTerm = try reader.take("a cursor")
        hash = try reader.take("a cursor")
    }
}

/// One line of a credit batch.
struct CreditRow: Equatable {
    static let size = 32
    var participant: UInt32
    var window: WindowID
    var amount: UInt64
    var payments: UInt64
}

/// A credit batch as bytes, and what they say.
struct BatchBytes {
    static let headerSize = 48
    static let maximumLines = 2_046

    var source: Int
    var destination: Int
    var cursor: StreamCursor
    var directoryVersion: UInt64
    var previousHash: UInt64
    var rows: [CreditRow]

    init(_ body: UnsafeRawBufferPointer, key: SipKey) throws(DecodeError) {
        var reader = ByteReader(body)
        source = Int(try reader.take("a batch's source", UInt16.self))
        destination = Int(try reader.take("a batch's destination", UInt16.self))
        let lines = try reader.count("a batch's lines", atMost: Self.maximumLines)
        let number: UInt64 = try reader.take("a batch's number")
        let index: UInt64 = try reader.take("a batch's source index")
        let term: UInt64 = try reader.take("a batch's source term")
        directoryVersion = try reader.take("a batch's directory version")
        previousHash = try reader.take("a batch's previous hash")
        cursor = StreamCursor(number: number, sourceIndex: index, sourceTerm: term, hash: key.hash(body))
        guard number > 0, source != destination else {
            throw DecodeError("batch \(number) from \(source) to \(destination)")
        }
        rows = []
        rows.reserveCapacity(lines)
        for _ in 0..<lines {
            let row = try reader.row()
            guard row.participant > 0, row.payments > 0 else {
                throw DecodeError("a credit line without participant or payment")
            }
            if let before = rows.last, (before.participant, before.window) >= (row.participant, row.window) {
                throw DecodeError("credit lines out of order at participant \(row.participant)")
            }
            rows.append(row)
        }
        try reader.end("a credit batch")
    }

    /// The bytes of a batch that a source closes.
    static func encode(
        source: Int, destination: Int, cursor: StreamCursor, directoryVersion: UInt64, previousHash: UInt64,
        rows: [CreditRow]
    ) -> [UInt8] {
        let size = headerSize + rows.count * CreditRow.size
        return [UInt8](unsafeUninitializedCapacity: size) { buffer, filled in
            let raw = UnsafeMutableRawBufferPointer(buffer)
            raw.initializeMemory(as: UInt8.self, repeating: 0)
            func put<T: FixedWidthInteger & BitwiseCopyable>(_ value: T, _ at: Int) {
                raw.storeBytes(of: value.littleEndian, toByteOffset: at, as: T.self)
            }
            put(UInt16(source), 0)
            put(UInt16(destination), 2)
            put(UInt32(rows.count), 4)
            put(cursor.number, 8)
            put(cursor.sourceIndex, 16)
            put(cursor.sourceTerm, 24)
            put(directoryVersion, 32)
            put(previousHash, 40)
            for (line, row) in rows.enumerated() {
                let at = headerSize + line * CreditRow.size
                put(row.participant, at)
                put(row.window.scheme.rawValue, at + 4)
                put(row.window.number, at + 8)
                put(row.amount, at + 16)
                put(row.payments, at + 24)
            }
            filled = size
        }
    }
}
