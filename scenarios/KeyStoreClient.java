// SPDX-License-Identifier: MIT
// A Java program that keeps a card's key store, asked line by line: `load` is answered with the aliases, `sign ALIAS` with a length.
// Loading is tried for some seconds: a provider that has found its token gone looks for a new one in a thread of its own.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.Provider;
import java.security.Security;
import java.security.Signature;
import java.util.Collections;
import java.util.TreeSet;

public class KeyStoreClient {
    private static Provider provider;
    private static char[] pin;
    private static KeyStore store;

    public static void main(String[] arguments) throws Exception {
        provider = Security.getProvider("SunPKCS11").configure(arguments[0]);
        pin = arguments[1].toCharArray();
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            System.out.println(answer(line));
            System.out.flush();
        }
    }

    private static String answer(String line) {
        try {
            return line.equals("load") ? load() : sign(line.substring("sign ".length()));
        } catch (Exception error) {
            StringBuilder chain = new StringBuilder("error:");
            for (Throwable each = error; each != null; each = each.getCause()) {
                chain.append(" ").append(each);
            }
            return chain.toString().replace('\n', ' ');
        }
    }

    private static String load() throws Exception {
        long end = System.nanoTime() + 4_000_000_000L;
        while (true) {
            try {
                return aliases();
            } catch (Exception error) {
                if (System.nanoTime() > end) {
                    throw error;
                }
                Thread.sleep(50);
            }
        }
    }

    private static String aliases() throws Exception {
        store = KeyStore.getInstance("PKCS11", provider);
        store.load(null, pin);
        return String.join(", ", new TreeSet<>(Collections.list(store.aliases())));
    }

    private static String sign(String alias) throws Exception {
        Signature signature = Signature.getInstance("SHA256withRSA", provider);
        signature.initSign((PrivateKey) store.getKey(alias, null));
        signature.update(new byte[] {1, 2, 3});
        return signature.sign().length + " bytes";
    }
}
