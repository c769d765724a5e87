/// The version of this build, as processes report it.
public enum Needletail {
    public static let version = "0.1.0"
}
