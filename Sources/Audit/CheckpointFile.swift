import ClearingModel

/// A checkpoint file that a node holds, from its valid header.
struct CheckpointFile {
    var node: NodeID
    var shard: UInt16
    var index: UInt64
    var term: UInt64
    var path: String
    /// The checkpoint whose index this one continues; 0 if it stands alone.
    var previous: UInt64
    /// Section 0 is the ledger's whole state, section 1 its part of the index.
    var sections: [Section]

    struct Section {
        var offset: Int
        var length: Int
        var crc: UInt32
    }

    /// A section's bytes; `nil` where they are damaged. One that is not there is empty.
    func section(_ at: Int) -> [UInt8]? {
        guard at < sections.count else { return [] }
        guard let bytes = DataFile(path)?.bytes(sections[at].offset, sections[at].length),
            bytes.withUnsafeBytes({ $0.crc() }) == sections[at].crc
        else { return nil }
        return bytes
    }

    /// Reads a checkpoint's first block; `nil` where it is damaged, or of another cluster.
    init?(_ bytes: UnsafeRawBufferPointer, of node: NodeID, _ path: String, _ cluster: ClusterID) {
        guard bytes.count == 4_096, bytes.little(0, UInt64.self) == 0x504B_434E_4150_5553,
            bytes.little(8, UInt32.self) == 1, bytes.cluster(16) == cluster,
            bytes.little(4_092, UInt32.self) == bytes.slice(0, 4_092).crc(),
            (1...8).contains(bytes.little(56, UInt32.self))
        else { return nil }
        self.node = node
        self.path = path
        shard = UInt16(truncatingIfNeeded: bytes.little(12, UInt32.self))
        index = bytes.little(32)
        term = bytes.little(40)
        previous = bytes.little(48)
        sections = (0..<Int(bytes.little(56, UInt32.self))).map { at in
            Section(
                offset: Int(truncatingIfNeeded: bytes.little(64 + at * 24, UInt64.self)),
                length: Int(truncatingIfNeeded: bytes.little(72 + at * 24, UInt64.self)),
                crc: bytes.little(80 + at * 24))
        }
        guard sections.allSatisfy({ (0...1 << 40).contains($0.offset) && (0...1 << 40).contains($0.length) }) else {
            return nil
        }
    }
}
