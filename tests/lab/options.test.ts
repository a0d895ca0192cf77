import { describe, expect, test } from "bun:test";
import { UsageError } from "../../src/base/errors.ts";
import { type LabOptions, labHelp, parseLabOptions } from "../../src/cli/lab/options.ts";

const DEFAULTS: LabOptions = {
  nodes: 3,
  lease: "embedded",
  family: "4",
  rules: "nft",
  once: false,
  output: "text",
  help: false,
};

describe("parseLabOptions", () => {
  test.each<[string, Partial<LabOptions>]>([
    ["", {}],
    ["--nodes 5 --once", { nodes: 5, once: true }],
    ["--nodes=2", { nodes: 2 }],
    ["--nodes=20", { nodes: 20 }],
    ["-nodes=7 -once", { nodes: 7, once: true }],
    ["-nodes 7", { nodes: 7 }],
    ["--nodes 5 --nodes 4", { nodes: 4 }],
    ["--lease embedded", { lease: "embedded" }],
    ["--lease etcd", { lease: "etcd" }],
    ["-lease=kube", { lease: "kube" }],
    ["--family 4 --rules iptables", { rules: "iptables" }],
    ["--family 6", { family: "6" }],
    ["--family=46 --rules=nft", { family: "46", rules: "nft" }],
    ["-family 46 -rules nft", { family: "46", rules: "nft" }],
    ["-o json", { output: "json" }],
    ["-ojson", { output: "json" }],
    ["-o=json", { output: "json" }],
    ["--output json", { output: "json" }],
    ["--output=text", { output: "text" }],
    ["-output=json", { output: "json" }],
    ["--help", { help: true }],
    ["-h", { help: true }],
    ["--once --", { once: true }],
  ])("reads %p", (line, expected) => {
    expect(parseLabOptions(line.split(" ").filter(Boolean))).toEqual({ ...DEFAULTS, ...expected });
  });

  test.each([
    ["--nodes 1", '--nodes must be a whole number from 2 to 20, not "1"'],
    ["--nodes 21", '--nodes must be a whole number from 2 to 20, not "21"'],
    ["--nodes 3.5", '--nodes must be a whole number from 2 to 20, not "3.5"'],
    ["--nodes=-3", '--nodes must be a whole number from 2 to 20, not "-3"'],
    ["--nodes=", '--nodes must be a whole number from 2 to 20, not ""'],
    ["--nodes --once", '--nodes must be a whole number from 2 to 20, not "--once"'],
    ["--nodes", "--nodes needs a value: --nodes=N"],
    ["-o", "--output needs a value: --output=FORMAT"],
    ["-o yaml", '--output must be text or json, not "yaml"'],
    ["--lease zookeeper", '--lease must be embedded, etcd or kube, not "zookeeper"'],
    ["--lease", "--lease needs a value: --lease=SOURCE"],
    ["--leese etcd", "unknown option --leese: did you mean --lease?"],
    ["--family 64", '--family must be 4, 6 or 46, not "64"'],
    ["--family", "--family needs a value: --family=FAMILY"],
    ["--rules nftables", '--rules must be iptables or nft, not "nftables"'],
    ["--rulse nft", "unknown option --rulse: did you mean --rules?"],
    ["--once=yes", "--once takes no value"],
    ["--node 3", "unknown option --node: did you mean --nodes?"],
    ["--ouptut json", "unknown option --ouptut: did you mean --output?"],
    ["-n 3", "unknown option -n: did you mean --nodes?"],
    ["--frobnicate", "unknown option --frobnicate: --help lists the options"],
    ["--constructor", "unknown option --constructor: --help lists the options"],
    ["5", 'unexpected argument "5": only options are allowed here'],
    ["-- --once", 'unexpected argument "--once": only options are allowed here'],
  ])("refuses %p", (line, message) => {
    const parse = () => parseLabOptions(line.split(" "));
    expect(parse).toThrow(UsageError);
    expect(parse).toThrow(message);
  });
});

test("the help names every option and fits into 80 columns", () => {
  const help = labHelp();
  for (const name of Object.keys(DEFAULTS)) expect(help).toContain(`--${name}`);
  for (const line of help.split("\n")) expect(line.length).toBeLessThanOrEqual(80);
});
