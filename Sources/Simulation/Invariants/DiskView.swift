import LogFormat

/// A node's simulated disk, read-only: what the process would read now, synced or not.
public protocol DiskView: AnyObject {
    /// Files of the data directory, in a fixed order.
    var names: [FileName] { get }
    /// The whole content; empty for a file that does not exist.
    func bytes(_ name: FileName) -> [UInt8]
    /// The content where it stands, valid until the disk is next changed; `nil` where it has no such place.
    func contents(_ name: FileName) -> UnsafeRawBufferPointer?
}

extension DiskView {
    public func contents(_ name: FileName) -> UnsafeRawBufferPointer? { nil }
}
