import ClearingModel
import Client

/// What a client was told of something that it wanted, as tests look at it.
public struct Heard: Sendable {
    public enum Answer: Sendable {
        case submit(Instruction, RecordResult)
        case query(TransactionID, isFound: Bool)
    }

    public var answer: Answer
    /// Simulated microseconds since the world began.
    public var sentAt: UInt64
    public var at: UInt64
}
