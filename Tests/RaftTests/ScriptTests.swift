import Foundation
import Testing

/// Golden scripts. To accept what a change does, read the difference after
/// `SUANPAN_REWRITE=1 swift test --filter ScriptTests` and commit it with the change.
@Suite("Raft: golden scripts")
struct ScriptTests {
    static let folder = Bundle.module.resourceURL!.appendingPathComponent("Scripts")

    static let names: [String] = {
        let all = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
        return all.filter { $0.hasSuffix(".txt") }.sorted()
    }()

    @Test("the scripts are there")
    func present() { #expect(Self.names.count >= 10) }

    @Test("what happens is what the script says", arguments: names)
    func golden(name: String) throws {
        let expected = try String(contentsOf: Self.folder.appendingPathComponent(name), encoding: .utf8)
        let happened = ScriptRunner.play(expected)
        if ProcessInfo.processInfo.environment["SUANPAN_REWRITE"] == "1" {
            // The copy in the bundle is what ran; the source beside this file is what is rewritten.
            let source = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Scripts")
            try happened.write(to: source.appendingPathComponent(name), atomically: true, encoding: .utf8)
            return
        }
        let (old, new) = (expected.split(separator: "\n"), happened.split(separator: "\n"))
        let differs = zip(old, new).enumerated().first { $0.element.0 != $0.element.1 }
        #expect(
            old == new,
            "\(name): line of text \((differs?.offset ?? min(old.count, new.count)) + 1): \(differs.map { "wrote \($0.element.0), now \($0.element.1)" } ?? "length")"
        )
    }
}
