import Foundation
public import NeedletailCore

/// The end of a program that could not do what it was asked.
public enum Failure {
    /// Prints the error's sentence, which says what to do, on one line after the program's name, and ends the process with 1. The file or
    /// peer follows when the sentence does not name it; code and cause stay out, they are for programs and logs.
    public static func exit(_ program: String, _ error: NeedletailError) -> Never {
        var text = error.message.split(separator: "\n").joined(separator: " ")
        if let location = error.location, !text.contains(location) { text += " [\(location)]" }
        StandardStreams.say("\(program): \(text)\n")
        Foundation.exit(1)
    }
}
