private import Glibc

/// The C library's logarithm, for modules that import nothing of it.
public enum NaturalLogarithm {
    public static func of(_ value: Double) -> Double { log(value) }
}
