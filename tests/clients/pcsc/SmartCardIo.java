// SPDX-License-Identifier: MIT
// A Java program of javax.smartcardio. It reads commands, a line each, and answers each with a line: `ok` and a result,
// or `error` and the exception. `connect`, `transmit APDU`, `exclusive`, `shared`, `disconnect`, `wait present|absent`.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.HexFormat;
import javax.smartcardio.Card;
import javax.smartcardio.CardTerminal;
import javax.smartcardio.CommandAPDU;
import javax.smartcardio.TerminalFactory;

public class SmartCardIo {
    private static final HexFormat HEX = HexFormat.of();
    private static final long DEADLINE = 10_000; // milliseconds
    private static CardTerminal terminal;
    private static Card card;

    private static String answer(String[] words) throws Exception {
        switch (words[0]) {
            case "connect":
                card = terminal.connect("*");
                return HEX.formatHex(card.getATR().getBytes());
            case "transmit":
                CommandAPDU command = new CommandAPDU(HEX.parseHex(words[1]));
                return HEX.formatHex(card.getBasicChannel().transmit(command).getBytes());
            case "exclusive":
                card.beginExclusive();
                return "";
            case "shared":
                card.endExclusive();
                return "";
            case "disconnect":
                card.disconnect(true);
                return "";
            case "wait":
                boolean present = words[1].equals("present");
                return "" + (present ? terminal.waitForCardPresent(DEADLINE) : terminal.waitForCardAbsent(DEADLINE));
            default:
                throw new IllegalArgumentException(words[0]);
        }
    }

    public static void main(String[] arguments) throws Exception {
        terminal = TerminalFactory.getDefault().terminals().getTerminal(arguments[0]);
        System.out.println("ok " + terminal.getName());
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            try {
                System.out.println("ok " + answer(line.split(" ")));
            } catch (Exception error) {
                Throwable cause = error.getCause();
                System.out.println("error " + error.getClass().getSimpleName() + " " + error.getMessage()
                        + (cause != null ? " " + cause.getMessage() : ""));
            }
        }
    }
}
