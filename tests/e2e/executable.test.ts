import { expect, test } from "bun:test";
import { COMMANDS } from "../../src/cli/commands.ts";
import { executable } from "../support/executable.ts";
import { TemporaryFolder } from "../support/temp.ts";

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function run(args: readonly string[], environment: Record<string, string> = {}, cwd?: string): Promise<Outcome> {
  const child = Bun.spawn([executable(), ...args], {
    stdout: "pipe",
    stderr: "pipe",
    env: { PATH: process.env["PATH"] ?? "", ...environment },
    ...(cwd === undefined ? {} : { cwd }),
  });
  const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { code, stdout, stderr };
}

test("--version and --help say what they should, and exit with 0", async () => {
  for (const flag of ["--version", "-version"]) {
    const { code, stdout } = await run([flag]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^\d+\.\d+\.\d+\S*\n$/);
  }
  const { code, stdout } = await run(["--help"]);
  expect(code).toBe(0);
  for (const text of [
    "--etcd-endpoints",
    "--iface-regex",
    "--lease-store=PATH",
    "lab",
    "not available in this build",
  ]) {
    expect(stdout).toContain(text);
  }
});

test.each(Object.keys(COMMANDS))("%s --help fits 80 columns, and says what the exit codes mean", async (name) => {
  const { code, stdout, stderr } = await run([name, "--help"]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toStartWith(`Usage: tartan ${name} `);
  expect(stdout).toContain("\nExit code");
  expect(stdout.split("\n").filter((line) => line.length > 80)).toEqual([]);
});

/** Wrong command lines, and what the one line about each has to name. */
const WRONG: readonly { args: string[]; environment?: Record<string, string>; says: RegExp }[] = [
  { args: ["--ifcae=eth0"], says: /ifcae.*did you mean --iface/ },
  { args: ["--kube-subnet-mgr"], says: /--kube-subnet-mgr needs.*NODE_NAME.*POD_NAME/ },
  { args: ["--lease-store=/x", "--vmodule=a=1"], says: /--vmodule.*not available in this build/ },
  { args: ["--lease-store=/x", "--iptables-resync=0"], says: /--iptables-resync.*1 to 86400/ },
  { args: ["--etcd-endpoints=ftp://127.0.0.1"], says: /--etcd-endpoints.*https?:/ },
  {
    args: ["--lease-store=/x"],
    environment: { FLANNELD_ETCD_ENDPOINTS: "http://127.0.0.1:2379" },
    says: /FLANNELD_ETCD_ENDPOINTS|--etcd-endpoints/,
  },
  { args: ["--lease-store=/x", "--healthz-port=99999"], says: /--healthz-port.*65535/ },
  { args: ["--lease-store=/x", "--resync=soon"], says: /--resync/ },
  { args: ["--lease-store=/x", "--iface-regex=eth["], says: /--iface-regex/ },
  { args: ["--lease-store=/x", "--log-format=xml"], says: /--log-format.*json/ },
  { args: ["--lease-store=/x", "extra"], says: /extra/ },
  { args: ["labb"], says: /labb/ },
];

for (const { args, environment, says } of WRONG) {
  test(`refused: ${JSON.stringify(environment ?? {})} ${args.join(" ")}`, async () => {
    const { code, stdout, stderr } = await run(args, environment);
    expect(code).toBe(2);
    expect(stdout).toBe("");
    expect(stderr).toMatch(says);
    expect(stderr.trimEnd().split("\n")).toHaveLength(1);
  });
}

test("a .env and a bunfig.toml in the working directory have no effect", async () => {
  using folder = new TemporaryFolder();
  await Bun.write(folder.at(".env"), "FLANNELD_KUBE_SUBNET_MGR=true\n");
  await Bun.write(folder.at("bunfig.toml"), 'preload = ["./absent.ts"]\n');
  const { code, stderr } = await run(["--lease-store=/x", "--resync=soon"], {}, folder.path);
  expect(code).toBe(2);
  expect(stderr).not.toContain("kube-subnet-mgr");
  expect(stderr).not.toContain("absent.ts");
});
