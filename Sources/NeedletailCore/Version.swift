/// The version of this build, as processes report it.
public enum NeedletailVersion {
    public static let current = "0.1.0"
}
