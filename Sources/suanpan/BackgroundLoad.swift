import Foundation
import Synchronization
import Workload

/// A load that runs beside the main thread, which starts and kills nodes meanwhile: they die with the thread that started
/// them.
final class BackgroundLoad: Sendable {
    private let result = Mutex<Result<LoadResult, any Error>?>(nil)

    init(_ configuration: LoadConfiguration) {
        Thread.detachNewThread { [self] in
            let outcome = Result { try LoadRunner.run(configuration) }
            result.withLock { $0 = outcome }
        }
    }

    /// What came of it, once it has ended.
    var outcome: Result<LoadResult, any Error>? { result.withLock { $0 } }
}
