import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { UsageError } from "../../src/base/errors.ts";
import { foreignRoute, parseDockerOptions, parseForDocker, renderDockerOptions } from "../../src/cli/docker-opts.ts";
import { executable } from "../support/executable.ts";
import { Netns, pair } from "../support/netns.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { useTemporaryFolder } from "../support/temp.ts";

const ENV = "FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.74.1/24\nFLANNEL_MTU=1472\nFLANNEL_IPMASQ=false\n";
const BIP = 'DOCKER_OPT_BIP="--bip=10.1.74.1/24"\n';
const MASQ = 'DOCKER_OPT_IPMASQ="--ip-masq=true"\n';
const MTU = 'DOCKER_OPT_MTU="--mtu=1472"\n';
const ALL = " --bip=10.1.74.1/24 --ip-masq=true --mtu=1472";

const written = (args: string, env = ENV, before = "") =>
  renderDockerOptions(parseForDocker(env), parseDockerOptions(args.split(" ").filter(Boolean)), before);

describe("what docker-opts writes is what flannel's script writes", () => {
  test.each([
    ["", `${BIP}${MASQ}${MTU}DOCKER_OPTS="${ALL}"\n`],
    ["-i -c", `${BIP}${MASQ}${MTU}DOCKER_OPTS="${ALL}"\n`],
    ["-i", `${BIP}${MASQ}${MTU}`],
    ["-c", `DOCKER_OPTS="${ALL}"\n`],
    ["-k OTHER_KEY", `${BIP}${MASQ}${MTU}OTHER_KEY="${ALL}"\n`],
    ["-ckOTHER_KEY", `OTHER_KEY="${ALL}"\n`],
    ["-m", `${BIP}${MTU}DOCKER_OPTS=" --bip=10.1.74.1/24 --mtu=1472"\n`],
  ])("with %p", (args, expected) => {
    expect(written(args)).toBe(expected);
  });

  test("where the agent masquerades, Docker does not", () => {
    expect(written("-i", ENV.replace("false", "true"))).toContain('DOCKER_OPT_IPMASQ="--ip-masq=false"');
  });

  test("what the file lacks is left out", () => {
    expect(written("", "FLANNEL_MTU=1450\n")).toBe('DOCKER_OPT_MTU="--mtu=1450"\nDOCKER_OPTS=" --mtu=1450"\n');
  });

  test("what the environment has stands in front", () => {
    expect(written("-c", ENV, "--debug")).toBe(`DOCKER_OPTS="--debug ${ALL}"\n`);
  });
});

test.each([
  ["FLANNEL_IPMASQ=maybe\nFLANNEL_MTU=1450", 'FLANNEL_IPMASQ must be true or false, not "maybe"'],
  ["FLANNEL_SUBNET=10.1.74.1", "FLANNEL_SUBNET must be an address with a prefix length"],
  ["FLANNEL_MTU=big", 'FLANNEL_MTU must be a number of bytes, not "big"'],
  ["", "it has no line of the form KEY=value"],
  ["FLANNEL_NETWORK=10.1.0.0/16", "it has neither FLANNEL_SUBNET nor FLANNEL_MTU"],
])("a file with %p is refused", (text, message) => {
  expect(() => parseForDocker(text)).toThrow(message);
});

test.each(["-x", "--nonsense", "-f", "more", "-k 1X"])("%p is refused with the way to the help", (args) => {
  expect(() => parseDockerOptions(args.split(" "))).toThrow(UsageError);
});

test("a route counts if it is to the very subnet, by way of another host", () => {
  const head = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";
  const route = (destination: string, gateway: string, mask: string) =>
    `${head}eth0\t${destination}\t${gateway}\t0003\t0\t0\t0\t${mask}\t0\t0\t0\n`;
  expect(foreignRoute("10.1.74.1/24", route("004A010A", "010200C0", "00FFFFFF"))).toBe("192.0.2.1");
  expect(foreignRoute("10.1.74.1/24", route("004A010A", "00000000", "00FFFFFF"))).toBeUndefined();
  expect(foreignRoute("10.1.74.1/24", route("004A010A", "010200C0", "0000FFFF"))).toBeUndefined();
  expect(foreignRoute("10.1.75.1/24", route("004A010A", "010200C0", "00FFFFFF"))).toBeUndefined();
  expect(foreignRoute("10.1.74.1/24", head)).toBeUndefined();
});

describeInNamespaces("tartan docker-opts", () => {
  const folder = useTemporaryFolder();

  async function run(ns: Netns, ...args: readonly string[]) {
    const env = { PATH: process.env["PATH"] ?? "", DOCKER_OPTS: "--debug" };
    const child = ns.spawn([executable(), "docker-opts", ...args], {
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
      env,
    });
    const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
    return { code, stdout, stderr };
  }

  test("writes the file, tells of a route in the way, and answers mistakes by its exit code", async () => {
    using ns = new Netns();
    const [input, output] = [folder.at("subnet.env"), folder.at("docker.env")];
    await Bun.write(input, ENV);
    expect(await run(ns, "-f", input, "-d", output, "-c")).toEqual({ code: 0, stdout: "", stderr: "" });
    expect(readFileSync(output, "utf8")).toBe(`DOCKER_OPTS="--debug ${ALL}"\n`);

    using peer = new Netns();
    await pair({ ns, name: "eth0", addresses: ["192.0.2.1/24"] }, { ns: peer, name: "eth0" });
    await ns.exec(["ip", "route", "add", "10.1.74.0/24", "via", "192.0.2.9"]);
    const blocked = await run(ns, "-f", input, "-d", output);
    expect(blocked).toMatchObject({ code: 1, stderr: expect.stringContaining("10.1.74.1/24 via 192.0.2.9") });

    const missing = await run(ns, "-f", folder.at("nothing"), "-d", folder.at("unwritten"));
    expect(missing).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("nothing can't be read; the agent writes it"),
    });
    expect(await Bun.file(folder.at("unwritten")).exists()).toBe(false);
    expect(await run(ns, "-x")).toMatchObject({ code: 2, stderr: expect.stringContaining("--help lists the options") });
    expect(await run(ns, "--help")).toMatchObject({ code: 0, stdout: expect.stringContaining("tartan docker-opts") });
  });
});
