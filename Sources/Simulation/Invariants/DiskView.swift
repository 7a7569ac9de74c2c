import LogFormat

/// A node's simulated disk, read-only: what the process would read now, synced or not.
public protocol DiskView: AnyObject {
    /// Files of the data directory, in a fixed order.
    var names: [FileName] { get }
    /// The whole content; empty for a file that does not exist.
    func bytes(_ name: FileName) -> [UInt8]
    /// The content where it stands, valid until the disk is next changed; `nil` where it has no such place.
    func contents(_ name: FileName) -> UnsafeRawBufferPointer?
    /// Whether it holds harm that no reader of logs sees: in a checkpoint, or where the device cannot read.
    var isHarmed: Bool { get }
}

extension DiskView {
    public var isHarmed: Bool { false }

    public func contents(_ name: FileName) -> UnsafeRawBufferPointer? { nil }
}
