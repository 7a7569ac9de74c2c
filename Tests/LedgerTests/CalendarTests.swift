import ClearingModel
import Ledger
import Testing

@Suite("Business days of a shard")
struct CalendarTests {
    /// Hours of a day in the calendar's zone.
    func at(_ day: BusinessDay, hours: Double) -> WallTime {
        WallTime(day.start(offsetMinutes: 480).rawValue + UInt64(hours * 3_600_000_000))
    }

    func follow(_ driver: ShardDriver, _ wall: WallTime) -> [Marker] {
        let markers = driver.ledger.dueMarkers(at: wall)
        if !markers.isEmpty { driver.entry(at: wall) { builder in for marker in markers { _ = builder.add(marker) } } }
        #expect(driver.ledger.dueMarkers(at: wall).isEmpty)
        return markers
    }

    @Test("days open at 23:00 and close at 02:00")
    func rhythm() {
        let driver = ShardDriver()
        let (d0, d1, d2) = (testDay, testDay.next, testDay.next.next)
        #expect(follow(driver, at(d0, hours: 12)) == [.openDay(d0)])
        #expect(follow(driver, at(d0, hours: 22.99)) == [])
        #expect(follow(driver, at(d0, hours: 23)) == [.openDay(d1)])
        #expect(follow(driver, at(d1, hours: 1.99)) == [])
        #expect(follow(driver, at(d1, hours: 2)) == [.closeDay(d0)])
        #expect(follow(driver, at(d1, hours: 23.5)) == [.openDay(d2)])
        #expect(driver.ledger.openDays == [d1, d2])
    }

    @Test("a shard that starts between 00:00 and 02:00 opens two days; after days without a leader it catches up")
    func gaps() {
        let driver = ShardDriver()
        #expect(
            follow(driver, at(testDay, hours: 1)) == [.openDay(BusinessDay(testDay.rawValue - 1)), .openDay(testDay)])
        let later = BusinessDay(testDay.rawValue + 5)
        #expect(
            follow(driver, at(later, hours: 23)) == [
                .closeDay(BusinessDay(testDay.rawValue - 1)), .closeDay(testDay), .openDay(later), .openDay(later.next),
            ])
        // The days in between never open any more.
        #expect(driver.ledger.isExpired(BusinessDay(testDay.rawValue + 2)))
    }

    @Test("a clock that goes back closes nothing and opens no day twice")
    func backwards() {
        let driver = ShardDriver()
        _ = follow(driver, at(testDay, hours: 12))
        _ = follow(driver, at(testDay.next, hours: 12))
        #expect(follow(driver, at(testDay, hours: 12)) == [])
        #expect(driver.ledger.openDays == [testDay.next])
    }

    @Test("markers that change nothing are counted")
    func ignored() {
        let driver = ShardDriver()
        driver.open(testDay)
        driver.open(testDay)
        driver.open(BusinessDay(testDay.rawValue - 1))
        driver.entry { _ = $0.add(Marker.closeDay(testDay.next)) }
        driver.open(testDay.next)
        driver.open(testDay.next.next)
        driver.open(testDay.next.next.next)
        #expect(driver.ledger.openDays.count == Limits.maximumOpenDays)
        #expect(driver.ledger.counters.ignoredMarkers == 4)
    }
}
