import ArgumentParser
import NeedletailCertificates
import NeedletailCore

struct CertificatesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "certificates", abstract: "Make the certificates with which a cluster encrypts its connections.",
        discussion: """
            For clusters without an authority of their own. Everything is in one folder, which holds the keys of the authorities: keep it away from the \
            cluster's hosts, and give each process its own two files and authority.pem.

              needletail certificates init --folder tls
              needletail certificates node coordinator-1 --folder tls --role coordinator --host coordinator-1.example --host 10.0.0.2
              needletail certificates node shard-1 --folder tls --role shard --host shard-1.example
              needletail certificates client alice --folder tls

            The same command again makes a new certificate in the old one's place; processes read it by themselves. Docs/security.md explains how to \
            replace the authorities, too.
            """,
        subcommands: [Begin.self, Node.self, Client.self, Succeed.self, Retire.self])

    struct Folder: ParsableArguments {
        @Option(help: "The folder of the authorities and of what they have signed.") var folder = "needletail-certificates"
    }

    struct Begin: ParsableCommand {
        static let configuration = CommandConfiguration(commandName: "init", abstract: "Make the two authorities: of processes, and of users.")
        @OptionGroup var place: Folder
        @Option(help: "Days for which they are good.") var days = 3650

        func validate() throws { try Days.check(days) }

        func run() throws {
            try CertificateFolder(place.folder).begin(days: days)
            print("\(place.folder) has authority.pem and client-authority.pem now; keep their .key files to yourself.")
        }
    }

    struct Node: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Make or renew the certificate of a process of the cluster.")
        @Argument(help: "What its files are called.") var name: String
        @OptionGroup var place: Folder
        @Option(help: "What it is: coordinator or shard; both may be given. Without one it is a server of another kind, such as etcd.")
        var role: [Role] = []
        @Option(help: "A name or an address at which the others reach it; repeat for more.") var host: [String]
        @Option(help: "Days for which it is good.") var days = 365

        func validate() throws { try Days.check(days) }

        enum Role: String, CaseIterable, ExpressibleByArgument {
            case coordinator, shard

            var roles: NodeRoles { self == .coordinator ? .coordinator : .shard }
        }

        func run() throws {
            let subject = CertificateAuthority.Subject(commonName: name, hosts: host, roles: role.reduce(into: []) { $0.formUnion($1.roles) })
            let made = try CertificateFolder(place.folder).issue(name, subject, by: CertificateFolder.nodes, days: days)
            print("\(made.certificate)\n\(made.key)")
        }
    }

    struct Client: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Make or renew the certificate of a user.")
        @Argument(help: "The user's name, and what the files are called.") var name: String
        @OptionGroup var place: Folder
        @Option(help: "Days for which it is good.") var days = 365

        func validate() throws { try Days.check(days) }

        func run() throws {
            let subject = CertificateAuthority.Subject(commonName: name)
            let made = try CertificateFolder(place.folder).issue(name, subject, by: CertificateFolder.users, days: days)
            print("\(made.certificate)\n\(made.key)")
        }
    }

    struct Succeed: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "new-authorities", abstract: "Put new authorities beside the old ones, which stay trusted until `retire`.",
            discussion: "Hand out authority.pem and client-authority.pem everywhere; then make all certificates anew; then retire the old authorities.")
        @OptionGroup var place: Folder
        @Option(help: "Days for which they are good.") var days = 3650

        func validate() throws { try Days.check(days) }

        func run() throws {
            try CertificateFolder(place.folder).succeed(days: days)
            print("authority.pem and client-authority.pem in \(place.folder) hold the new authorities and the old. Hand them out before you make certificates.")
        }
    }

    struct Retire: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "retire", abstract: "Take the old authorities away, when no certificate of theirs is in use any more.")
        @OptionGroup var place: Folder

        func run() throws {
            try CertificateFolder(place.folder).retire()
            print("authority.pem and client-authority.pem in \(place.folder) hold the new authorities alone. Hand them out.")
        }
    }

    private enum Days {
        static func check(_ days: Int) throws {
            guard (1...36_500).contains(days) else { throw ValidationError("--days is 1 to 36500.") }
        }
    }
}
