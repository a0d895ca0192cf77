import { expect, test } from "bun:test";
import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import fc from "fast-check";
import { parseSubnetEnv, parseSubnetFile, renderSubnetFile } from "../../src/config/subnet-env.ts";
import type { Address } from "../../src/net/address.ts";
import { type Prefix, parsePrefix } from "../../src/net/prefix.ts";
import { readPreviousSubnet, subnetFileProblem, writeSubnetFile } from "../../src/status/subnet-file.ts";
import { TemporaryFolder } from "../support/temp.ts";

function prefix(text: string): Prefix {
  const parsed = parsePrefix(text);
  if (parsed === undefined) throw new Error(text);
  return parsed;
}

/** As flannel's WriteSubnetFile writes them. */
const FILES = [
  {
    content: {
      networks: { 4: prefix("10.244.0.0/16") },
      subnets: { 4: prefix("10.244.7.0/24") },
      mtu: 1450,
      ipMasq: true,
      devices: [],
    },
    text: "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.7.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n",
  },
  {
    content: {
      networks: { 4: prefix("10.244.0.0/16"), 6: prefix("fc00::/48") },
      subnets: { 4: prefix("10.244.7.0/24"), 6: prefix("fc00:0:0:7::/64") },
      mtu: 1430,
      ipMasq: false,
      devices: [],
    },
    text:
      "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.7.1/24\n" +
      "FLANNEL_IPV6_NETWORK=fc00::/48\nFLANNEL_IPV6_SUBNET=fc00:0:0:7::1/64\nFLANNEL_MTU=1430\nFLANNEL_IPMASQ=false\n",
  },
  {
    content: {
      networks: { 6: prefix("fc00::/48") },
      subnets: { 6: prefix("fc00:0:0:7::/64") },
      mtu: 1430,
      ipMasq: false,
      devices: [],
    },
    text: "FLANNEL_IPV6_NETWORK=fc00::/48\nFLANNEL_IPV6_SUBNET=fc00:0:0:7::1/64\nFLANNEL_MTU=1430\nFLANNEL_IPMASQ=false\n",
  },
];

test("is byte for byte flannel's, and is read back", () => {
  for (const { content, text } of FILES) {
    expect(renderSubnetFile(content)).toBe(text);
    expect(parseSubnetFile(text)).toEqual(content.subnets);
    const { networks, ...rest } = content;
    expect(parseSubnetEnv(text)).toEqual({ ...rest, networks: Object.values(networks) });
  }
});

test("our own line comes after flannel's", () => {
  for (const { content, text } of FILES) {
    const devices = ["flannel.1", "flannel-v6.1"];
    const whole = renderSubnetFile({ ...content, devices });
    expect(whole).toBe(`${text}TARTAN_DEVICES=flannel.1,flannel-v6.1\n`);
    expect(parseSubnetEnv(whole).devices).toEqual(devices);
  }
});

test("several networks of a family, each once; what flannel does not write is passed over", () => {
  const text = "# by hand\nFLANNEL_NETWORK=10.1.0.0/16,10.2.3.4/16,10.1.0.0/16\nFLANNEL_SUBNET=10.2.7.1/24\n";
  const { networks, subnets } = parseSubnetEnv(`${text}FLANNEL_MTU=1450\nFLANNEL_IPMASQ=maybe\nOTHER=1\n`);
  expect(networks).toEqual([prefix("10.1.0.0/16"), prefix("10.2.0.0/16")]);
  expect(subnets).toEqual({ 4: prefix("10.2.7.0/24") });
});

test("what pods need and the file lacks is named, and so is what is wrong", () => {
  const whole = "FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.7.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";
  for (const key of ["FLANNEL_NETWORK", "FLANNEL_SUBNET", "FLANNEL_MTU", "FLANNEL_IPMASQ"]) {
    const text = whole.replace(new RegExp(`^${key}=.*\n`, "m"), "");
    expect(() => parseSubnetEnv(text)).toThrow(new RegExp(`^it lacks ${key}( or FLANNEL_IPV6_\\w+)?$`));
  }
  for (const [key, value] of [
    ["FLANNEL_NETWORK", "10.1.0.0/16,fc00::/48"],
    ["FLANNEL_SUBNET", "10.1.7.1"],
    ["FLANNEL_MTU", "-1"],
    ["FLANNEL_MTU", ""],
  ]) {
    const text = whole.replace(new RegExp(`^${key}=.*$`, "m"), `${key}=${value}`);
    expect(() => parseSubnetEnv(text)).toThrow(`${key} must be`);
  }
});

test("what can't be used is told with the key, and costs only the memory of the subnet", () => {
  using folder = new TemporaryFolder();
  const path = folder.at("subnet.env");
  expect(readPreviousSubnet(path)).toEqual({ subnets: {} });
  for (const [text, says] of [
    ["", /no line of the form KEY=value/],
    ["\u0000\u0001\u0002", /no line of the form/],
    ["FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.24", /FLANNEL_SUBNET/],
    ["FLANNEL_SUBNET=fc00::1/64\n", /FLANNEL_SUBNET/],
    ["FLANNEL_IPV6_SUBNET=10.244.1.1/24\n", /FLANNEL_IPV6_SUBNET/],
  ] as const) {
    writeFileSync(path, text);
    const { subnets, problem } = readPreviousSubnet(path);
    expect(subnets).toEqual({});
    expect(problem).toMatch(says);
    expect(problem).toContain(path);
  }
  expect(readPreviousSubnet(folder.path).problem).toContain(folder.path);
});

test("no content makes reading throw", () => {
  using folder = new TemporaryFolder();
  const path = folder.at("subnet.env");
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc
          .constantFrom(...FILES.map(({ text }) => text))
          .chain((text) => fc.nat(text.length).map((n) => text.slice(0, n))),
      ),
      (text) => {
        writeFileSync(path, text);
        readPreviousSubnet(path);
      },
    ),
    { numRuns: 200 },
  );
});

test("is written as a whole, readable for all, and its directory is made", async () => {
  using folder = new TemporaryFolder();
  const path = folder.at("run", "flannel", "subnet.env");
  const texts = FILES.map(({ text }) => text);
  writeSubnetFile(path, texts[0] ?? "");
  expect(statSync(path).mode & 0o777).toBe(0o644);
  expect(subnetFileProblem(path, texts[0] ?? "")).toBeUndefined();
  expect(subnetFileProblem(path, texts[1] ?? "")).toContain("other contents");
  // A reader beside the writer sees one of the two, never a part.
  const script = `for (;;) { const text = require("node:fs").readFileSync(${JSON.stringify(path)}, "utf8"); if (!${JSON.stringify(texts)}.includes(text)) { console.log(JSON.stringify(text)); process.exit(1); } }`;
  const reader = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe", stderr: "pipe" });
  for (let i = 0; i < 3_000 && reader.exitCode === null; i++) {
    writeSubnetFile(path, texts[i % texts.length] ?? "");
    if (i % 100 === 0) await Bun.sleep(1);
  }
  expect(reader.exitCode).toBeNull();
  reader.kill();
  await reader.exited;
});

test("a place where it can't be written is told with path and cause, and nothing is left beside", () => {
  using folder = new TemporaryFolder();
  mkdirSync(folder.at("subnet.env"));
  expect(() => writeSubnetFile(folder.at("subnet.env"), "x")).toThrow(`write ${folder.at("subnet.env")}`);
  writeFileSync(folder.at("file"), "");
  chmodSync(folder.at("file"), 0o600);
  expect(() => writeSubnetFile(folder.at("file", "subnet.env"), "x")).toThrow();
  expect(readFileSync(folder.at("file"), "utf8")).toBe("");
  expect([...new Bun.Glob("**").scanSync({ cwd: folder.path, onlyFiles: true })]).toEqual(["file"]);
});

test("the first address of the subnet is what is written", () => {
  const content = {
    networks: { 4: prefix("10.0.0.0/8") },
    subnets: { 4: prefix("10.1.2.128/26") },
    mtu: 1450,
    ipMasq: false,
    devices: [],
  };
  expect(renderSubnetFile(content)).toContain(`FLANNEL_SUBNET=${"10.1.2.129" as Address}/26\n`);
});
