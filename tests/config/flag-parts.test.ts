import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { DEBUG_ADDRESS, DEBUG_SOCKET } from "../../src/api/commands.ts";
import { envNameOf, FLAG_NAMES, FLAGS } from "../../src/config/flag-table.ts";
import { parseAgentFlags } from "../../src/config/flags.ts";
import { parseGoBool, parseGoInt } from "../../src/config/go-values.ts";
import { flagHelp, flagReferenceMarkdown } from "../../src/config/help.ts";
import { compileInterfaceRegex, PatternError } from "../../src/config/iface-regex.ts";
import { formatListenAddress, listenAddressesClash, parseListenAddress } from "../../src/config/listen-address.ts";
import { nearest } from "../../src/config/nearest.ts";

describe("Go's integers", () => {
  test.each<[string, bigint | undefined]>([
    ["0", 0n],
    ["-0", 0n],
    ["+7", 7n],
    ["010", 8n],
    ["0o10", 8n],
    ["0O1_0", 8n],
    ["0x_ff", 255n],
    ["0XFF", 255n],
    ["0b101", 5n],
    ["1_000", 1000n],
    ["9223372036854775807", 9223372036854775807n],
    ["-9223372036854775808", -9223372036854775808n],
    ["9223372036854775808", undefined],
    ["08", undefined],
    ["1__0", undefined],
    ["_1", undefined],
    ["1_", undefined],
    ["0x", undefined],
    ["1e3", undefined],
    ["1.0", undefined],
    [" 1", undefined],
    ["1\n", undefined],
    ["", undefined],
    ["٣", undefined],
  ])("%j", (text, value) => {
    expect(parseGoInt(text)).toBe(value as bigint);
  });

  test("what is written in any base is read back", () => {
    fc.assert(
      fc.property(fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n), fc.constantFrom(10, 16, 8, 2), (value, base) => {
        const prefix = { 10: "", 16: "0x", 8: "0o", 2: "0b" }[base];
        const digits = (value < 0n ? -value : value).toString(base);
        expect(parseGoInt(`${value < 0n ? "-" : ""}${prefix}${digits}`)).toBe(value);
      }),
    );
  });
});

test("Go's booleans", () => {
  for (const text of ["1", "t", "T", "true", "TRUE", "True"]) expect(parseGoBool(text)).toBe(true);
  for (const text of ["0", "f", "F", "false", "FALSE", "False"]) expect(parseGoBool(text)).toBe(false);
  for (const text of ["", "yes", "tRUE", "on", " true"]) expect(parseGoBool(text)).toBeUndefined();
});

describe("addresses to listen on", () => {
  test.each<[string, ReturnType<typeof parseListenAddress>]>([
    ["127.0.0.1:8285", { kind: "tcp", host: "127.0.0.1", port: 8285 }],
    ["0.0.0.0:0", { kind: "tcp", host: "0.0.0.0", port: 0 }],
    ["[0:0:0:0:0:0:0:1]:80", { kind: "tcp", host: "::1", port: 80 }],
    ["node-1.example:65535", { kind: "tcp", host: "node-1.example", port: 65535 }],
    ["unix:/run/tartan.sock", { kind: "unix", path: "/run/tartan.sock" }],
    [`unix:/${"a".repeat(106)}`, { kind: "unix", path: `/${"a".repeat(106)}` }],
    [`unix:/${"a".repeat(107)}`, undefined],
    ["unix:run/tartan.sock", undefined],
    ["unix:", undefined],
    [":80", undefined],
    ["80", undefined],
    ["::1:80", undefined],
    ["[127.0.0.1]:80", { kind: "tcp", host: "127.0.0.1", port: 80 }],
    ["[localhost]:80", undefined],
    ["127.0.0.1:65536", undefined],
    ["127.0.0.1:-1", undefined],
    ["127.0.0.1:", undefined],
    ["127.0.0.300:80", undefined],
    ["1.2.3:80", undefined],
    ["-a:80", undefined],
    ["a b:80", undefined],
    ["off", undefined],
  ])("%j", (text, address) => {
    expect(parseListenAddress(text)).toEqual(address);
    if (address) expect(parseListenAddress(formatListenAddress(address))).toEqual(address);
  });

  test.each<[string, string, boolean]>([
    ["127.0.0.1:80", "127.0.0.1:80", true],
    ["127.0.0.1:80", "127.0.0.1:81", false],
    ["127.0.0.1:80", "127.0.0.2:80", false],
    ["0.0.0.0:80", "127.0.0.2:80", true],
    ["0.0.0.0:80", "localhost:80", true],
    ["0.0.0.0:80", "[::1]:80", false],
    ["[::]:80", "127.0.0.1:80", true],
    ["[::]:80", "0.0.0.0:80", true],
    ["0.0.0.0:0", "127.0.0.1:0", false],
    ["unix:/a", "unix:/a", true],
    ["unix:/a", "unix:/b", false],
    ["unix:/a", "0.0.0.0:80", false],
  ])("%s and %s clash: %p", (left, right, clash) => {
    const [a, b] = [parseListenAddress(left), parseListenAddress(right)];
    if (a === undefined || b === undefined) throw new Error("not an address");
    expect(listenAddressesClash(a, b)).toBe(clash);
    expect(listenAddressesClash(b, a)).toBe(clash);
  });
});

describe("patterns of --iface-regex", () => {
  test.each<[string, string, boolean]>([
    ["eth.*", "eth0", true],
    ["th", "eth0", true],
    ["^th", "eth0", false],
    ["(?i)ETH0", "eth0", true],
    ["(?is)^ETH.$", "eth0", true],
    ["(?i:E)th", "eth0", true],
    ["(?P<kind>en|eth)[0-9]+", "eth0", true],
    ["^10\\.0\\.", "10.0.3.4", true],
    ["^10\\.0\\.", "10a0.3.4", false],
    ["eth\\-0", "eth-0", true],
    ["\\\\A", "\\A", true],
  ])("%s on %s: %p", (pattern, text, matches) => {
    expect(compileInterfaceRegex(pattern).test(text)).toBe(matches);
  });

  test.each<[string, string]>([
    ["[", "terminating ]"],
    ["*a", "nothing to repeat"],
    ["ab\\z", "\\z at character 3 is not supported, use $"],
    ["\\Aeth", "\\A at character 1 is not supported, use ^"],
    ["[[:alpha:]]", "[:alpha:] at character 2 is not supported"],
    ["\\pL", "\\p at character 1 is not supported"],
    ["\\x{2e}", "\\x{ at character 1 is not supported"],
    ["(?U)a", "unrecognized character after (?"],
  ])("%s is refused", (pattern, cause) => {
    expect(() => compileInterfaceRegex(pattern)).toThrow(PatternError);
    expect(() => compileInterfaceRegex(pattern)).toThrow(cause);
  });

  test("any text is a pattern or refused as one", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (pattern) => {
        try {
          expect(compileInterfaceRegex(pattern)).toBeInstanceOf(RegExp);
        } catch (error) {
          expect(error).toBeInstanceOf(PatternError);
        }
      }),
    );
  });
});

test("the nearest word", () => {
  expect(nearest("subnetlen", ["SubnetMin", "SubnetLen"])).toBe("SubnetLen");
  expect(nearest("SubnetLn", ["SubnetMin", "SubnetLen"])).toBe("SubnetLen");
  expect(nearest("Foo", ["SubnetMin", "SubnetLen"])).toBeUndefined();
  expect(nearest("a", [])).toBeUndefined();
});

test("help and reference name every flag, its variable and what is not available", () => {
  const help = flagHelp();
  const reference = flagReferenceMarkdown();
  for (const name of FLAG_NAMES) {
    const dashes = name.length === 1 ? "-" : "--";
    expect(help).toMatch(new RegExp(`^  (-h, )?${dashes}${name}(=|$)`, "m"));
    expect(reference).toContain(`\n| \`${dashes}${name}\` |`);
    const env = envNameOf(name);
    if (env) expect(help).toMatch(new RegExp(`[[ ]${env}[;\\]]`));
    if (env) expect(reference).toContain(`| \`${env}\` |\n`);
  }
  expect(help).toContain(
    "  --iptables-forward-rules\n" +
      "      accept forwarded traffic of the pod network\n" +
      "      [default true; FLANNELD_IPTABLES_FORWARD_RULES]\n" +
      "  --iptables-resync=int\n",
  );
  const columns = reference
    .trimEnd()
    .split("\n")
    .map((line) => line.replaceAll("\\|", "").split("|").length);
  expect(new Set(columns)).toEqual(new Set([7]));
});

test("the agent listens where its clients look for it, and on no socket if told so", () => {
  expect(FLAGS["debug-addr"].default).toBe(DEBUG_ADDRESS);
  expect(FLAGS["debug-socket"].default).toBe(DEBUG_SOCKET);
  expect(parseAgentFlags(["--lease-store=/x", "--debug-socket=off"], {}).debugSocket).toBeUndefined();
  const relative = () => parseAgentFlags(["--debug-socket=x.sock"], {});
  expect(relative).toThrow('--debug-socket must be an absolute path of at most 107 bytes or off, not "x.sock"');
});
