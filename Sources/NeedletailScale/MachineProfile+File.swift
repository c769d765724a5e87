internal import Foundation
public import NeedletailCore

extension MachineProfile {
    /// Reads what `needletail-bench calibrate` has written.
    ///
    /// - Throws: `notFound`; `invalidArgument` for anything else than a profile of this format.
    public init(path: String) throws(NeedletailError) {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw NeedletailError(.notFound, "there is no file \(path); `needletail-bench calibrate --out \(path)` makes it")
        }
        do {
            self = try JSONDecoder().decode(MachineProfile.self, from: data)
        } catch {
            throw error as? NeedletailError
                ?? NeedletailError(.invalidArgument, "\(path) is no profile; `needletail-bench calibrate --out \(path)` makes one")
        }
        try validate()
    }
}
