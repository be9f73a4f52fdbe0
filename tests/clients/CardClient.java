// SPDX-License-Identifier: MIT
// A Java program with a PKCS #11 token: `java CardClient.java CONFIGURATION PIN`. It reads commands, a line each, and
// answers each with a line: `ok` and results, or `error` and the exception. Binary values are hexadecimal.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.security.KeyFactory;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.KeyStore;
import java.security.MessageDigest;
import java.security.PrivateKey;
import java.security.Provider;
import java.security.PublicKey;
import java.security.SecureRandom;
import java.security.Security;
import java.security.Signature;
import java.security.spec.AlgorithmParameterSpec;
import java.security.spec.ECGenParameterSpec;
import java.security.spec.MGF1ParameterSpec;
import java.security.spec.PSSParameterSpec;
import java.security.spec.X509EncodedKeySpec;
import java.util.Arrays;
import java.util.Collections;
import java.util.HexFormat;
import java.util.TreeSet;
import javax.crypto.Cipher;
import javax.crypto.KeyAgreement;
import javax.crypto.KeyGenerator;
import javax.crypto.Mac;
import javax.crypto.SecretKey;
import javax.crypto.spec.GCMParameterSpec;
import javax.crypto.spec.IvParameterSpec;
import javax.crypto.spec.SecretKeySpec;

public class CardClient {
    private static final HexFormat HEX = HexFormat.of();
    private static Provider provider;
    private static char[] pin;
    private static KeyStore store;

    public static void main(String[] arguments) throws Exception {
        provider = Security.getProvider("SunPKCS11").configure(arguments[0]);
        pin = arguments[1].toCharArray();
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            try {
                System.out.println(("ok " + answer(line.split(" "))).strip());
            } catch (Exception error) {
                StringBuilder chain = new StringBuilder("error");
                for (Throwable each = error; each != null; each = each.getCause()) {
                    chain.append(" ").append(each);
                }
                System.out.println(chain.toString().replace('\n', ' '));
            }
            System.out.flush();
        }
    }

    private static String answer(String[] words) throws Exception {
        switch (words[0]) {
            case "load":
                store = KeyStore.getInstance("PKCS11", provider);
                store.load(null, pin);
                return String.join(" ", new TreeSet<>(Collections.list(store.aliases())));
            case "key":
                return HEX.formatHex(store.getCertificate(words[1]).getPublicKey().getEncoded());
            case "sign":
                return HEX.formatHex(sign(words[1], words[2], HEX.parseHex(words[3])));
            case "decrypt":
                return HEX.formatHex(decrypt(words[1], words[2], HEX.parseHex(words[3])));
            case "agree":
                return HEX.formatHex(agree(words[1], HEX.parseHex(words[2])));
            case "copy":
                store.setKeyEntry(words[2], store.getKey(words[1], null), null, store.getCertificateChain(words[1]));
                return "";
            case "delete":
                store.deleteEntry(words[1]);
                return "";
            case "pair":
                return pair(words[1], words[2], words[3], HEX.parseHex(words[4]));
            case "digest":
                return HEX.formatHex(MessageDigest.getInstance(words[1], provider).digest(HEX.parseHex(words[2])));
            case "mac":
                return HEX.formatHex(mac(words[1], HEX.parseHex(words[2]), HEX.parseHex(words[3])));
            case "encrypt":
                return HEX.formatHex(encrypt(words[1], HEX.parseHex(words[2]), HEX.parseHex(words[3]), HEX.parseHex(words[4])));
            case "secret":
                return secret(HEX.parseHex(words[1]));
            case "random":
                byte[] random = new byte[Integer.parseInt(words[1])];
                SecureRandom.getInstance("PKCS11", provider).nextBytes(random);
                return HEX.formatHex(random);
            default:
                throw new IllegalArgumentException(words[0]);
        }
    }

    private static PrivateKey privateKey(String alias) throws Exception {
        return (PrivateKey) store.getKey(alias, null);
    }

    private static byte[] sign(String alias, String algorithm, byte[] data) throws Exception {
        Signature signature = Signature.getInstance(algorithm, provider);
        if (algorithm.equals("RSASSA-PSS")) {
            signature.setParameter(new PSSParameterSpec("SHA-256", "MGF1", MGF1ParameterSpec.SHA256, 32, 1));
        }
        signature.initSign(privateKey(alias));
        signature.update(data);
        return signature.sign();
    }

    private static byte[] decrypt(String alias, String algorithm, byte[] data) throws Exception {
        Cipher cipher = Cipher.getInstance(algorithm, provider);
        cipher.init(Cipher.DECRYPT_MODE, privateKey(alias));
        return cipher.doFinal(data);
    }

    private static byte[] agree(String alias, byte[] other) throws Exception {
        PublicKey peer = KeyFactory.getInstance("EC").generatePublic(new X509EncodedKeySpec(other));
        KeyAgreement agreement = KeyAgreement.getInstance("ECDH", provider);
        agreement.init(privateKey(alias));
        agreement.doPhase(peer, true);
        return agreement.generateSecret();
    }

    /** A key pair of the session: its public key and a signature. */
    private static String pair(String kind, String size, String algorithm, byte[] data) throws Exception {
        KeyPairGenerator generator = KeyPairGenerator.getInstance(kind, provider);
        if (kind.equals("EC")) {
            generator.initialize(new ECGenParameterSpec(size));
        } else {
            generator.initialize(Integer.parseInt(size));
        }
        KeyPair pair = generator.generateKeyPair();
        Signature signature = Signature.getInstance(algorithm, provider);
        signature.initSign(pair.getPrivate());
        signature.update(data);
        return HEX.formatHex(pair.getPublic().getEncoded()) + " " + HEX.formatHex(signature.sign());
    }

    private static byte[] mac(String algorithm, byte[] key, byte[] data) throws Exception {
        Mac mac = Mac.getInstance(algorithm, provider);
        mac.init(new SecretKeySpec(key, algorithm));
        return mac.doFinal(data);
    }

    private static byte[] encrypt(String algorithm, byte[] key, byte[] iv, byte[] data) throws Exception {
        Cipher cipher = Cipher.getInstance(algorithm, provider);
        AlgorithmParameterSpec parameter =
            algorithm.contains("GCM") ? new GCMParameterSpec(128, iv) : new IvParameterSpec(iv);
        cipher.init(Cipher.ENCRYPT_MODE, new SecretKeySpec(key, "AES"), parameter);
        return cipher.doFinal(data);
    }

    /** A secret key made by the token: whether what it encrypts comes back. */
    private static String secret(byte[] data) throws Exception {
        KeyGenerator generator = KeyGenerator.getInstance("AES", provider);
        generator.init(256);
        SecretKey key = generator.generateKey();
        Cipher cipher = Cipher.getInstance("AES/CBC/NoPadding", provider);
        IvParameterSpec iv = new IvParameterSpec(new byte[16]);
        cipher.init(Cipher.ENCRYPT_MODE, key, iv);
        byte[] secret = cipher.doFinal(data);
        cipher.init(Cipher.DECRYPT_MODE, key, iv);
        return String.valueOf(!Arrays.equals(secret, data) && Arrays.equals(cipher.doFinal(secret), data));
    }
}
