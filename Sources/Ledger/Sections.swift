import ClearingModel
import Wire

/// What a section of an entry is. Raw values stand in the log and never change.
public enum SectionType: UInt16, Sendable, CaseIterable {
    case creditBatch = 1
    case creditConfirmation = 2
    case directoryUpdate = 3
    case openDay = 4
    case closeDay = 5
    case openWindow = 6
    /// Group 0 only: the body of one `DirectoryChangeRequest`, applied whole or not at all.
    case directoryChange = 16

    /// Whether the section has a place in entries of `group`.
    public func belongs(to group: EntryGroup) -> Bool { (self == .directoryChange) == (group == .directory) }
}

/// The two kinds of log that carry entries.
public enum EntryGroup: Hashable, Sendable {
    case clearing
    /// Group 0: no records.
    case directory
}

/// A logged event of the calendar.
public enum Marker: Hashable, Sendable {
    case openDay(BusinessDay)
    case closeDay(BusinessDay)
    case openWindow(WindowID)
}

/// A section as read from an entry.
public enum EntrySection: Hashable, Sendable {
    case creditBatch(CreditBatch)
    case creditConfirmation(CreditConfirmation)
    case directoryUpdate(DirectoryUpdate)
    case marker(Marker)
    case directoryChange([DirectoryChange])

    /// Reads the body of a section.
    public init(type: SectionType, body: UnsafeRawBufferPointer, key: SipHash) throws(WireError) {
        switch type {
        case .creditBatch: self = .creditBatch(try CreditBatch(decoding: body, key: key))
        case .creditConfirmation: self = .creditConfirmation(try CreditConfirmation(decoding: body))
        case .directoryUpdate: self = .directoryUpdate(try DirectoryUpdate(decoding: body))
        case .openDay, .closeDay, .openWindow: self = .marker(try Marker(type: type, body: body))
        case .directoryChange: self = .directoryChange(try DirectoryChangeRequest.decode(body).changes)
        }
    }

    /// Checks a body without keeping it.
    static func check(type: SectionType, body: UnsafeRawBufferPointer) throws(WireError) {
        switch type {
        case .creditBatch: _ = try CreditBatch.check(body)
        case .creditConfirmation: _ = try CreditConfirmation(decoding: body)
        case .directoryUpdate: _ = try DirectoryUpdate(decoding: body)
        case .openDay, .closeDay, .openWindow: _ = try Marker(type: type, body: body)
        case .directoryChange: _ = try DirectoryChangeRequest.decode(body).changes
        }
    }
}

extension Marker {
    var type: SectionType {
        switch self {
        case .openDay: .openDay
        case .closeDay: .closeDay
        case .openWindow: .openWindow
        }
    }

    /// 8 bytes: day (16), zero (48); or scheme (16), zero (16), number (32).
    func encode(into writer: inout WireWriter) {
        switch self {
        case .openDay(let day), .closeDay(let day):
            writer.id(day)
            writer.u16(0)
            writer.u32(0)
        case .openWindow(let window):
            writer.id(window.scheme)
            writer.u16(0)
            writer.u32(window.number)
        }
    }

    init(type: SectionType, body: UnsafeRawBufferPointer) throws(WireError) {
        var reader = WireReader(body)
        let first = try reader.u16()
        let reserved = try reader.u16()
        let second = try reader.u32()
        try reader.expectEnd()
        guard reserved == 0 else { throw .invalid(field: "marker reserved", value: UInt64(reserved)) }
        if type == .openWindow {
            guard first > 0, second > 0 else { throw .invalid(field: "window", value: UInt64(second)) }
            self = .openWindow(WindowID(scheme: SchemeID(first), number: second))
        } else {
            guard second == 0 else { throw .invalid(field: "marker reserved", value: UInt64(second)) }
            self = type == .openDay ? .openDay(BusinessDay(first)) : .closeDay(BusinessDay(first))
        }
    }
}

/// An entry's payload in place: header, records and sections, all checked once at the start.
///
/// It does not own the bytes: use it only while they live.
public struct EntryView {
    public let header: EntryHeader
    public let payload: UnsafeRawBufferPointer

    /// Reads a payload and checks its structure, bounded by `Limits`. Never traps.
    public static func read(_ payload: UnsafeRawBufferPointer, group: EntryGroup) -> Result<EntryView, EntryError> {
        switch EntryHeader.parse(payload) {
        case .failure(let error): return .failure(error)
        case .success(let header):
            guard header.payloadBytes == payload.count else {
                return .failure(.length(promised: header.payloadBytes, found: payload.count))
            }
            if group == .directory, header.recordCount > 0 { return .failure(.tooManyRecords(header.recordCount)) }
            let view = EntryView(header: header, payload: payload)
            if let error = view.checkSections(group) { return .failure(error) }
            return .success(view)
        }
    }

    /// What is wrong with a payload; `nil` for a good one.
    public static func fault(in payload: UnsafeRawBufferPointer, group: EntryGroup) -> EntryError? {
        if case .failure(let error) = read(payload, group: group) { return error }
        return nil
    }

    /// The record at `slot`, below `header.recordCount`.
    public func record(_ slot: Int) -> Instruction {
        precondition(slot >= 0 && slot < header.recordCount, "a record beyond the entry")
        return payload.loadUnaligned(fromByteOffset: EntryHeader.recordOffset(slot), as: Instruction.self)
    }

    /// The sections in order. `key` is the cluster's, for the hashes of credit batches.
    public func sections(key: SipHash) -> [EntrySection] {
        var sections: [EntrySection] = []
        let error = walk { type, body throws(WireError) in
            sections.append(try EntrySection(type: type, body: body, key: key))
        }
        precondition(error == nil, "sections are checked before they are read")
        return sections
    }

    private func checkSections(_ group: EntryGroup) -> EntryError? {
        walk { type, body throws(WireError) in
            guard type.belongs(to: group) else { throw .invalid(field: "section type", value: UInt64(type.rawValue)) }
            try EntrySection.check(type: type, body: body)
        }
    }

    /// Calls `body` for each section; stops at the first error.
    private func walk(
        _ body: (SectionType, UnsafeRawBufferPointer) throws(WireError) -> Void
    ) -> EntryError? {
        let start = EntryHeader.recordOffset(header.recordCount)
        var reader = WireReader(UnsafeRawBufferPointer(rebasing: payload[start...]))
        var found = 0
        while reader.left > 0 {
            var code: UInt16 = 0
            do throws(WireError) {
                code = try reader.u16()
                let reserved = try reader.u16()
                guard reserved == 0 else { throw .invalid(field: "section reserved", value: UInt64(reserved)) }
                let length = try reader.count("section length", atMost: Limits.maximumSectionBytes)
                let bytes = try reader.raw(length)
                guard let type = SectionType(rawValue: code) else { return .sectionType(code) }
                try body(type, bytes)
            } catch {
                return .section(type: code, error)
            }
            found += 1
        }
        return found == header.sectionCount ? nil : .sectionCount(promised: header.sectionCount, found: found)
    }
}
