/// What the audit has to say, gathered as it goes. Texts are capped, counts are not.
final class Findings {
    static let maximumTexts = 50

    /// One kind of finding: the first texts, and how many there were in all.
    struct List {
        private(set) var texts: [String] = []
        private(set) var count = 0

        mutating func add(_ text: () -> String) {
            count += 1
            if texts.count < Findings.maximumTexts { texts.append(text()) }
        }
    }

    /// What must not be: each makes the verdict invalid.
    private(set) var problems = List()
    /// What could not be looked at: the verdict is unknown at best.
    private(set) var unchecked = List()
    /// What was found and made good from elsewhere, or is worth knowing.
    private(set) var notes = List()

    func problem(_ text: @autoclosure () -> String) { problems.add(text) }
    func unchecked(_ text: @autoclosure () -> String) { unchecked.add(text) }
    func note(_ text: @autoclosure () -> String) { notes.add(text) }
}
