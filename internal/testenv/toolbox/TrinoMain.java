import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/**
 * Trino's main, since the artifact that holds it is not on Maven Central after 476; and its own end. Users hold a shared lock on the
 * file lease.path, which the kernel frees when a user dies, however it dies. Once nobody has held it for lease.linger.seconds, the
 * server ends. An absent lease.path is also the end.
 */
public class TrinoMain {
    public static void main(String[] args) throws IOException {
        Path lease = Path.of(System.getProperty("lease.path"));
        long lingerNanos = Long.parseLong(System.getProperty("lease.linger.seconds")) * 1_000_000_000L;
        Thread watch = new Thread(() -> watch(lease, lingerNanos), "lease");
        watch.setDaemon(true);
        watch.start();
        String version = io.trino.server.Server.class.getPackage().getImplementationVersion();
        new io.trino.server.Server().start(version == null ? "test" : version);
    }

    private static void watch(Path lease, long lingerNanos) {
        long seen = System.nanoTime();
        try (FileChannel file = FileChannel.open(lease, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
            while (lease.toFile().exists()) {
                try (FileLock alone = file.tryLock()) {
                    if (alone == null) {
                        seen = System.nanoTime();
                    }
                    else if (System.nanoTime() - seen > lingerNanos) {
                        // Still holding the lock: who waits for it finds us gone, not going.
                        Runtime.getRuntime().halt(0);
                    }
                }
                Thread.sleep(200);
            }
        }
        catch (IOException | InterruptedException e) {
            e.printStackTrace();
        }
        Runtime.getRuntime().halt(0);
    }
}
