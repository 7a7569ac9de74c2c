import ArgumentParser
import CPlatform
import ClearingModel
import Client
import LocalCluster
import Workload

struct SubmitCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "submit", abstract: "Submit one payment and wait for its outcome.",
        discussion: "Exit codes: 0 accepted, 1 rejected or refused, 2 unknown. The same id again gets the same answer.")
    @OptionGroup var location: DirectoryOptions
    @Option(help: "The whole id, DEBTOR-INSTRUCTING-YYYYMMDD-SEQUENCE; without it a new one is made.") var id: String?
    @Option(help: "Who pays.") var debtor: UInt32?
    @Option(help: "Who instructs; its certificate must be in the cluster's directory.") var instructing: UInt32?
    @Option(help: "Who is paid.") var creditor: UInt32
    @Option(help: "Amount in minor units.") var amount: UInt64
    @Option(help: "ISO 4217 numeric code.") var currency: UInt16 = 156
    @Option(help: "agreementDebit, gatewayPayment, payout, qrMerchantPresented or qrConsumerPresented.")
    var kind = "agreementDebit"
    @Option(help: "Seconds to wait for the outcome.") var timeout = 10.0
    @Flag(help: "One line of JSON.") var json = false

    func run() throws {
        let directory = location.directory
        guard let kind = InstructionKind.allCases.first(where: { "\($0)" == kind && $0.isPayment }) else {
            throw FlagError("--kind '\(kind)': see 'suanpan submit --help'")
        }
        let id = try transactionID(calendar: try directory.topology().calendar)
        let instruction = Instruction(
            id: id, kind: kind, amount: amount, currency: currency, creditor: ParticipantID(creditor))
        let client = try Access.asParticipant(id.instructing, directory, timeoutSeconds: timeout)
        defer { client.close() }
        let result = try client.submit([instruction])[0].result
        Console.out(json ? PaymentText.json(id, result) : PaymentText.text(id, result))
        let status = PaymentText.exitStatus(result)
        if status != ExitStatus.ok { throw ExitCode(status) }
    }

    private func transactionID(calendar: ClearingCalendar) throws -> TransactionID {
        if let id {
            guard debtor == nil, instructing == nil else {
                throw FlagError("--id says debtor and instructing participant itself: leave those flags out")
            }
            return try parseID(id)
        }
        guard let debtor, let instructing, debtor > 0, instructing > 0 else {
            throw FlagError("give --debtor and --instructing, or a whole --id")
        }
        // Microseconds of the day fit in 37 bits: a command's ids do not meet.
        let now = WallTime(rawValue: suanpan_wall_microseconds())
        return TransactionID(
            debtor: ParticipantID(debtor), instructing: ParticipantID(instructing),
            day: BusinessDay(at: now, offsetMinutes: Int(calendar.zoneOffsetMinutes)),
            sequence: now.rawValue % 86_400_000_000)
    }
}

/// Reads a transaction's id from the command line.
func parseID(_ text: String) throws(FlagError) -> TransactionID {
    guard let id = TransactionID(text) else {
        throw FlagError("'\(text)' is no transaction id: DEBTOR-INSTRUCTING-YYYYMMDD-SEQUENCE, as in 104-7-20261123-42")
    }
    return id
}

struct TransactionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "transaction", abstract: "What became of one id.",
        discussion: "Exit codes: 0 accepted, 1 rejected, voided or not found, 2 unknown.")
    @OptionGroup var location: DirectoryOptions
    @Argument(help: "DEBTOR-INSTRUCTING-YYYYMMDD-SEQUENCE") var id: String
    @Flag(help: "If it was never seen, make that final: it can never be paid.") var void = false
    @Option(help: "Seconds to wait for the answer.") var timeout = 10.0
    @Flag(help: "One line of JSON.") var json = false

    func run() throws {
        let id = try parseID(id)
        let result: RecordResult
        if void {
            let client = try Access.asParticipant(id.instructing, location.directory, timeoutSeconds: timeout)
            defer { client.close() }
            result = try client.submit([.queryOrVoid(id)])[0].result
        } else {
            let client = try Access.asRegulator(location.directory, timeoutSeconds: timeout)
            defer { client.close() }
            let decision = try client.query([id])[0]
            guard decision.answer != .notFound && decision.answer != .expired else {
                Console.out(
                    json
                        ? "{\"id\": \"\(id)\", \"outcome\": \"\(decision.answer!)\"}"
                        : "\(id)  \(PaymentText.describe(decision))")
                throw ExitCode(ExitStatus.failed)
            }
            result = .decided(decision)
        }
        Console.out(json ? PaymentText.json(id, result) : PaymentText.text(id, result))
        let status = PaymentText.exitStatus(result)
        if status != ExitStatus.ok { throw ExitCode(status) }
    }
}

struct PositionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "position", abstract: "Where one participant stands, in minor units.")
    @OptionGroup var location: DirectoryOptions
    @Argument(help: "The participant's number.") var participant: UInt32
    @Option(help: "Seconds to wait for the answer.") var timeout = 10.0
    @Flag(help: "One line of JSON.") var json = false

    func run() throws {
        let client = try Access.asRegulator(location.directory, timeoutSeconds: timeout)
        defer { client.close() }
        let reply = try client.position(of: ParticipantID(participant))
        guard let status = reply.status else {
            throw LaunchError.failed("shard \(reply.shard) knows no participant \(participant)")
        }
        if json {
            let rows = reply.rows.map {
                "{\"window\": \"\($0.window)\", \"currency\": \($0.currency), \"debits\": \($0.postedDebits), "
                    + "\"credits\": \($0.postedCredits)}"
            }
            Console.out(
                "{\"participant\": \(participant), \"shard\": \(reply.shard.rawValue), \"status\": \"\(status)\""
                    + ", \"currency\": \(reply.currency), \"applied\": \(reply.applied), \"limit\": \(reply.limit)"
                    + ", \"funding\": \(reply.funding), \"settled\": \(reply.settled), \"reserved\": \(reply.reserved)"
                    + ", \"available\": \(reply.available), \"windows\": [\(rows.joined(separator: ", "))]}")
            return
        }
        Console.out(
            Table(
                ["participant", "shard", "status", "currency", "limit", "funding", "settled", "reserved", "available"],
                rows: [
                    [
                        "\(participant)", "\(reply.shard)", "\(status)", "\(reply.currency)", "\(reply.limit)",
                        "\(reply.funding)", "\(reply.settled)", "\(reply.reserved)", "\(reply.available)",
                    ]
                ]
            ).text)
        guard !reply.rows.isEmpty else { return }
        Console.out(
            Table(
                ["window", "currency", "posted debits", "posted credits"],
                rows: reply.rows.map {
                    ["\($0.window)", "\($0.currency)", "\($0.postedDebits)", "\($0.postedCredits)"]
                }
            ).text)
    }
}
