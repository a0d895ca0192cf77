import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { UsageError } from "../../src/base/errors.ts";
import { envNameOf, FLAG_NAMES, FLAGS, flagSpec } from "../../src/config/flag-table.ts";
import { type AgentFlags, parseAgentFlags } from "../../src/config/flags.ts";
import type { Address } from "../../src/net/address.ts";

const STORE = "--lease-store=/run/tartan/leases.db";

/** The message of the UsageError that the flags cause. */
function refusal(args: string[], environment: Record<string, string> = {}): string {
  try {
    parseAgentFlags(args, environment);
  } catch (error) {
    if (error instanceof UsageError) return error.message;
    throw error;
  }
  throw new Error(`accepted: ${args.join(" ")}`);
}

const parse = (...args: string[]) => parseAgentFlags([STORE, ...args], {});

const DEFAULTS: AgentFlags = {
  help: false,
  version: false,
  leaseStore: "/run/tartan/leases.db",
  netConfigPath: "/etc/kube-flannel/net-conf.json",
  subnetFile: "/run/flannel/subnet.env",
  iface: [],
  ifaceRegex: [],
  publicIPs: {},
  ipMasq: false,
  ipMasqRandomFully: true,
  forwardRules: true,
  rulesResyncSeconds: 5,
  ipBlackholeRoute: false,
  vxlanTxChecksum: "auto",
  debugAddresses: [{ kind: "tcp", host: "127.0.0.1", port: 8285 }],
  debugSocket: "/run/tartan/debug.sock",
  probeSeconds: 10,
  peerMetrics: false,
  logFormat: "text",
  verbosity: 0,
  resyncSeconds: 60,
  renewMarginMinutes: 60,
};

test("the table has every flag of flanneld with its default", () => {
  const flanneld: Record<string, string | undefined> = {
    "etcd-endpoints": "http://127.0.0.1:4001,http://127.0.0.1:2379",
    "etcd-prefix": "/coreos.com/network",
    "etcd-keyfile": undefined,
    "etcd-certfile": undefined,
    "etcd-cafile": undefined,
    "etcd-username": undefined,
    "etcd-password": undefined,
    iface: undefined,
    "iface-regex": undefined,
    "iface-can-reach": undefined,
    "subnet-file": "/run/flannel/subnet.env",
    "public-ip": undefined,
    "public-ipv6": undefined,
    "subnet-lease-renew-margin": "60",
    "ip-masq": "false",
    "ip-masq-fully-random-disable": "false",
    "kube-subnet-mgr": "false",
    "kube-api-url": undefined,
    "kube-annotation-prefix": "flannel.alpha.coreos.com",
    "kubeconfig-file": undefined,
    version: "false",
    "healthz-ip": "0.0.0.0",
    "healthz-port": "0",
    "iptables-resync": "5",
    "iptables-forward-rules": "true",
    "ip-blackhole-route": "false",
    "net-config-path": "/etc/kube-flannel/net-conf.json",
    "set-node-network-unavailable": "true",
    v: "0",
    vmodule: undefined,
    log_backtrace_at: undefined,
  };
  const cni = ["cni-conf-file", "cni-conf-source"];
  const told = ["debug-addr", "debug-socket", "probe-interval", "peer-metrics", "log-format"];
  const ours = ["lease-store", ...cni, ...told, "resync", "vxlan-tx-checksum", "help"];
  const table = Object.fromEntries(FLAG_NAMES.map((name) => [name, flagSpec(name).default]));
  for (const name of ours) delete table[name];
  expect(table).toEqual(flanneld);
});

test("the environment's names are flannel's", () => {
  expect(envNameOf("etcd-endpoints")).toBe("FLANNELD_ETCD_ENDPOINTS");
  expect(envNameOf("v")).toBe("FLANNELD_V");
  expect(envNameOf("log_backtrace_at")).toBe("FLANNELD_LOG_BACKTRACE_AT");
  expect(envNameOf("lease-store")).toBe("FLANNELD_LEASE_STORE");
  expect(envNameOf("version")).toBeUndefined();
});

test("no entry of the table asks for something that it refuses by default", () => {
  expect(parse()).toEqual(DEFAULTS);
});

describe("accepted", () => {
  const v4 = "192.0.2.7" as Address;
  const table: [string[], Partial<AgentFlags>][] = [
    [["-v=2"], { verbosity: 2 }],
    [["-v", "2"], { verbosity: 2 }],
    [["--v=2"], { verbosity: 2 }],
    [["--v", "0x10"], { verbosity: 16 }],
    [["-v", "-1"], { verbosity: -1 }],
    [["-v=1", "-v=3"], { verbosity: 3 }],
    [["-iface=eth0", "--iface", "10.0.0.1"], { iface: ["eth0", "10.0.0.1"] }],
    [["--iface="], { iface: [] }],
    [["--iface=", "--iface=eth1"], { iface: ["eth1"] }],
    [["--iface-regex=^eth[0-9]$", "--iface-regex", "a=b"], { ifaceRegex: ["^eth[0-9]$", "a=b"] }],
    [["--public-ipv6=2001:DB8::07"], { publicIPs: { 6: "2001:db8::7" as Address } }],
    [["--ip-blackhole-route", "--vxlan-tx-checksum=off"], { ipBlackholeRoute: true, vxlanTxChecksum: "off" }],
    [["--public-ip=192.0.2.7"], { publicIPs: { 4: v4 } }],
    [["--public-ip=192.0.2.7", "--public-ip="], { publicIPs: {} }],
    [["--subnet-file", "/tmp/a b", "--net-config-path=c=d"], { subnetFile: "/tmp/a b", netConfigPath: "c=d" }],
    [
      ["--cni-conf-file=/etc/cni/net.d/10-x.conflist"],
      { cniConf: { source: "/etc/kube-flannel/cni-conf.json", file: "/etc/cni/net.d/10-x.conflist" } },
    ],
    [["--cni-conf-file=/x.conflist", "--cni-conf-source=/y"], { cniConf: { source: "/y", file: "/x.conflist" } }],
    [["--cni-conf-file="], {}],
    [["--subnet-file="], { subnetFile: "/run/flannel/subnet.env" }],
    [["--subnet-lease-renew-margin=1439"], { renewMarginMinutes: 1439 }],
    [["--healthz-port=8081"], { healthz: { kind: "tcp", host: "0.0.0.0", port: 8081 } }],
    [["--healthz-ip=::1", "--healthz-port=1"], { healthz: { kind: "tcp", host: "::1", port: 1 } }],
    [["--healthz-ip=::1"], {}],
    [["--debug-addr=off"], { debugAddresses: [] }],
    [["--debug-socket=/x/y.sock"], { debugSocket: "/x/y.sock" }],
    [
      ["--debug-addr=[::1]:80", "--debug-addr=unix:/run/t.sock", "--debug-addr=localhost:0"],
      {
        debugAddresses: [
          { kind: "tcp", host: "::1", port: 80 },
          { kind: "unix", path: "/run/t.sock" },
          { kind: "tcp", host: "localhost", port: 0 },
        ],
      },
    ],
    [["--log-format=json"], { logFormat: "json" }],
    [["--resync=0"], { resyncSeconds: 0 }],
    [["--ip-masq=false", "--kube-subnet-mgr=F", "--iptables-forward-rules=0"], { forwardRules: false }],
    [["--ip-masq", "--ip-masq-fully-random-disable"], { ipMasq: true, ipMasqRandomFully: false }],
    [["--iptables-resync=30"], { rulesResyncSeconds: 30 }],
    [["--set-node-network-unavailable=FALSE", "--ip-blackhole-route=f", "--peer-metrics"], { peerMetrics: true }],
    [["--etcd-endpoints=", "--kube-api-url", "", "--vmodule=", "--public-ipv6="], {}],
    [["--ip-masq", "--ip-masq=false"], {}],
    [["--help=false", "-v=4"], { verbosity: 4 }],
    [["--version=0"], {}],
    [["--"], {}],
  ];
  test.each(table)("%j", (args, expected) => {
    expect(parse(...args)).toEqual({ ...DEFAULTS, ...expected });
  });
});

describe("help and version need nothing else", () => {
  test.each<[string[], "help" | "version"]>([
    [["--help"], "help"],
    [["-h"], "help"],
    [["-help"], "help"],
    [["--help", "--nonsense", "argument"], "help"],
    [["--healthz-port=abc", "--help"], "help"],
    [["--version"], "version"],
    [["--kube-subnet-mgr", "-version"], "version"],
    [["--version=T", "--resync=never"], "version"],
  ])("%j", (args, asked) => {
    const defaults = parseAgentFlags([], {});
    expect(parseAgentFlags(args, { FLANNELD_V: "broken" })).toEqual({ ...defaults, [asked]: true });
  });
});

describe("environment", () => {
  test.each<[Record<string, string>, string[], Partial<AgentFlags>]>([
    [{ FLANNELD_LEASE_STORE: "/other" }, [], { leaseStore: "/other" }],
    [{ FLANNELD_V: "3", FLANNELD_LOG_FORMAT: "json" }, [STORE], { verbosity: 3, logFormat: "json" }],
    [{ FLANNELD_V: "3" }, [STORE, "-v=1"], { verbosity: 1 }],
    [{ FLANNELD_IFACE: "eth0,eth1" }, [STORE], { iface: ["eth0,eth1"] }],
    [{ FLANNELD_IFACE: "eth0" }, [STORE, "--iface=eth1"], { iface: ["eth1"] }],
    [{ FLANNELD_PUBLIC_IP: "192.0.2.1" }, [STORE, "--public-ip="], {}],
    [{ FLANNELD_HEALTHZ_PORT: "", FLANNELD_KUBE_SUBNET_MGR: "" }, [STORE], {}],
    [{ FLANNELD_KUBE_SUBNET_MGR: "true" }, [STORE, "--kube-subnet-mgr=false"], {}],
    [{ FLANNELD_VERSION: "true", FLANNELD_HELP: "true", FLANNELD_UNKNOWN: "1", V: "9" }, [STORE], {}],
  ])("%j %j", (environment, args, expected) => {
    expect(parseAgentFlags(args, environment)).toEqual({ ...DEFAULTS, ...expected });
  });

  test("a message names the variable", () => {
    expect(refusal([STORE], { FLANNELD_HEALTHZ_PORT: "http" })).toBe(
      'FLANNELD_HEALTHZ_PORT: --healthz-port must be an integer from 0 to 65535, not "http"',
    );
    expect(refusal([STORE], { FLANNELD_VMODULE: "a=1" })).toBe(
      "FLANNELD_VMODULE: --vmodule is not available in this build (raise -v)",
    );
  });
});

describe("refused", () => {
  test.each<[string[], string]>([
    [["--etcd-endpoint=http://a"], "unknown flag --etcd-endpoint: did you mean --etcd-endpoints?"],
    [["--ifcae", "eth0"], "unknown flag --ifcae: did you mean --iface?"],
    [["--kube_subnet_mgr"], "unknown flag --kube_subnet_mgr: did you mean --kube-subnet-mgr?"],
    [["--Version"], "unknown flag --Version: did you mean --version?"],
    [["--frobnicate"], "unknown flag --frobnicate: --help lists the flags"],
    [["-x"], "unknown flag --x: --help lists the flags"],
    [["---v=1"], '"---v=1" is not a flag; write --NAME=VALUE'],
    [["--=1"], '"--=1" is not a flag; write --NAME=VALUE'],
    [["-v"], "-v needs a value: -v=int"],
    [["--lease-store"], "--lease-store needs a value: --lease-store=PATH"],
    [["run"], 'unexpected argument "run": only flags are allowed here'],
    [["--", "-v"], 'unexpected argument "-v": only flags are allowed here'],
    [["-"], 'unexpected argument "-": only flags are allowed here'],
    [["--ip-masq", "false"], 'unexpected argument "false": write --ip-masq=false'],
    [["--ip-masq=yes"], '--ip-masq must be true or false, not "yes"'],
    [["--ip-masq="], '--ip-masq must be true or false, not ""'],
    [["-v", "--iface=eth0"], '-v must be an integer from -2147483647 to 2147483647, not "--iface=eth0"'],
    [["-v=1.5"], '-v must be an integer from -2147483647 to 2147483647, not "1.5"'],
    [["--healthz-port=65536"], '--healthz-port must be an integer from 0 to 65535, not "65536"'],
    [["--healthz-ip=10.0.0.256"], '--healthz-ip must be an IP address or a host name, not "10.0.0.256"'],
    [["--subnet-lease-renew-margin=0"], '--subnet-lease-renew-margin must be an integer from 1 to 1439, not "0"'],
    [["--subnet-lease-renew-margin=1440"], '--subnet-lease-renew-margin must be an integer from 1 to 1439, not "1440"'],
    [["--public-ip=::1"], '--public-ip must be an IPv4 address, not "::1"'],
    [["--log-format=xml"], '--log-format must be text or json, not "xml"'],
    [["--iptables-resync=0"], '--iptables-resync must be an integer from 1 to 86400, not "0"'],
    [["--resync=-1"], '--resync must be an integer from 0 to 86400, not "-1"'],
    [["--iface-regex=eth(0"], '--iface-regex must be a regular expression, not "eth(0": missing )'],
    [
      ["--debug-addr=:8285"],
      '--debug-addr must be HOST:PORT, [IPv6]:PORT, unix:/PATH or off (a port is 0 to 65535), not ":8285"',
    ],
  ])("%j", (args, message) => {
    expect(refusal(args)).toBe(message);
  });
});

describe("not available in this build", () => {
  const unavailable = FLAG_NAMES.filter((name) => flagSpec(name).notYet !== undefined);

  test("is every flag of a later part", () => {
    expect(unavailable.sort()).toEqual(["log_backtrace_at", "vmodule"]);
  });

  test.each(unavailable)("--%s", (name) => {
    const value = FLAGS[name].type.bare === undefined ? "2001:db8::1" : "true";
    expect(refusal([STORE, `--${name}=${value}`])).toStartWith(`--${name} is not available in this build`);
    expect(refusal([STORE], { [`FLANNELD_${name.toUpperCase().replaceAll("-", "_")}`]: value })).toContain(
      `: --${name} is not available in this build`,
    );
  });

  test("the arguments of flannel's DaemonSet: all in one line", () => {
    expect(refusal(["--ip-masq", "--vmodule=a=1", "--kube-subnet-mgr", "--healthz-port=8081"])).toBe(
      "--vmodule is not available in this build (raise -v)",
    );
  });
});

describe("impossible combinations", () => {
  test.each<[string[], string]>([
    [[STORE, "--kube-subnet-mgr"], "--lease-store and --kube-subnet-mgr exclude each other"],
    [[STORE, "--etcd-prefix=/x"], "--lease-store and --etcd-prefix exclude each other"],
    [["--kube-subnet-mgr", "--etcd-prefix=/x"], "--kube-subnet-mgr and --etcd-prefix exclude each other"],
    [["--kubeconfig-file=/x"], "--kubeconfig-file needs --kube-subnet-mgr"],
    [["--kube-subnet-mgr=false", "--kube-api-url=https://a"], "--kube-api-url needs --kube-subnet-mgr"],
    [[STORE, "--kube-annotation-prefix=a.b"], "--lease-store and --kube-annotation-prefix exclude each other"],
    [["--etcd-certfile=/x"], "--etcd-certfile needs --etcd-keyfile"],
    [["--etcd-keyfile=/x"], "--etcd-keyfile needs --etcd-certfile"],
    [["--etcd-username=x"], "--etcd-username needs --etcd-password"],
    [["--etcd-password=x"], "--etcd-password needs --etcd-username"],
    [["--cni-conf-source=/x"], "--cni-conf-source needs --cni-conf-file"],
    [["--cni-conf-file=/x.conf"], "--cni-conf-file must be a path that ends in .conflist"],
    [
      [STORE, "--healthz-port=8285"],
      "--healthz-port and --debug-addr can't both listen: 0.0.0.0:8285 and 127.0.0.1:8285 clash",
    ],
    [
      [STORE, "--debug-addr=unix:/a", "--debug-socket=/a"],
      "--debug-socket and --debug-addr can't both listen: unix:/a and unix:/a clash",
    ],
    [
      [STORE, "--debug-addr=unix:/a", "--debug-addr=unix:/a"],
      "--debug-addr and --debug-addr can't both listen: unix:/a and unix:/a clash",
    ],
    [[STORE, "--debug-addr=off", "--debug-addr=[::1]:1"], "--debug-addr=off excludes every other --debug-addr"],
  ])("%j", (args, message) => {
    expect(refusal(args)).toContain(message);
  });
});

describe("Kubernetes", () => {
  test("is chosen by its flag, with flanneld's prefix and condition", () => {
    expect(parseAgentFlags(["--kube-subnet-mgr"], {})).toMatchObject({
      kubernetes: { annotationPrefix: "flannel.alpha.coreos.com", setNodeNetworkUnavailable: true },
    });
    expect(parse("--kube-subnet-mgr=false").kubernetes).toBeUndefined();
  });

  test("takes the rest of its flags, also from the environment", () => {
    const environment = {
      FLANNELD_KUBE_SUBNET_MGR: "true",
      FLANNELD_KUBECONFIG_FILE: "/k",
      FLANNELD_SET_NODE_NETWORK_UNAVAILABLE: "false",
    };
    const flags = parseAgentFlags(["--kube-api-url=https://a", "--kube-annotation-prefix=a.b/c"], environment);
    expect(flags.kubernetes).toEqual({
      apiUrl: "https://a",
      kubeconfigFile: "/k",
      annotationPrefix: "a.b/c",
      setNodeNetworkUnavailable: false,
    });
    expect(flags.etcd).toBeUndefined();
  });
});

describe("etcd", () => {
  const etcdOf = (...args: string[]) => parseAgentFlags(args, {}).etcd;

  test("is the default source, with flanneld's addresses and key", () => {
    const { etcd, leaseStore } = parseAgentFlags(["--lease-store="], {});
    expect(leaseStore).toBeUndefined();
    expect(etcd).toEqual({
      endpoints: ["http://127.0.0.1:4001", "http://127.0.0.1:2379"],
      prefix: "/coreos.com/network",
      tls: {},
    });
    expect(parse().etcd).toBeUndefined();
  });

  test.each([
    ["https://a:2379,https://b:2379", ["https://a:2379", "https://b:2379"]],
    ["http://127.0.0.1:2379/, http://[::1]:2379", ["http://127.0.0.1:2379", "http://[::1]:2379"]],
    ["127.0.0.1:2379,etcd.example:2379", ["http://127.0.0.1:2379", "http://etcd.example:2379"]],
  ])("has the addresses %s", (text, endpoints) => {
    expect(etcdOf(`--etcd-endpoints=${text}`)?.endpoints).toEqual(endpoints);
  });

  test("speaks TLS to an address without a scheme if it has a file for it", () => {
    expect(etcdOf("--etcd-endpoints=a:2379", "--etcd-cafile=/ca.pem")).toMatchObject({
      endpoints: ["https://a:2379"],
      tls: { caFile: "/ca.pem" },
    });
  });

  test.each([
    "",
    "a:2379,",
    "ftp://a:2379",
    "unix:///run/etcd",
    "http://",
    "http://a:99999",
    "http://a/v3",
    "http://a?x=1",
  ])("does not take the addresses %j", (text) => {
    expect(refusal([`--etcd-endpoints=${text || ","}`])).toStartWith(
      "--etcd-endpoints must be http://HOST:PORT or https://HOST:PORT, several separated by commas, not",
    );
  });

  test("its password does not show, neither in messages nor in the state", () => {
    const flags = parseAgentFlags(["--etcd-username=me", "--etcd-password=s3cret"], {});
    expect(flags.etcd?.password?.reveal()).toBe("s3cret");
    for (const text of [JSON.stringify(flags), Bun.inspect(flags, { depth: 9 }), `${flags.etcd?.password}`]) {
      expect(text).not.toContain("s3cret");
    }
    expect(refusal(["--etcd-password=s3cret"])).not.toContain("s3cret");
    const message = refusal(["--etcd-endpoints=http://me:s3cret@a:2379"]);
    expect(message).not.toContain("s3cret");
    expect(message).toContain("--etcd-username");
  });
});

test("whatever the arguments, there is a result or one line of complaint", () => {
  const word = fc.oneof(
    fc.string(),
    fc.constantFrom(...FLAG_NAMES).map((name) => `--${name}`),
    fc.tuple(fc.constantFrom(...FLAG_NAMES), fc.string()).map(([name, value]) => `-${name}=${value}`),
  );
  fc.assert(
    fc.property(fc.array(word, { maxLength: 5 }), fc.dictionary(fc.string(), fc.string()), (args, environment) => {
      try {
        const flags = parseAgentFlags(args, environment);
        expect(flags.help || flags.version || (flags.leaseStore ?? flags.etcd ?? flags.kubernetes) !== undefined).toBe(
          true,
        );
      } catch (error) {
        expect(error).toBeInstanceOf(UsageError);
        expect((error as UsageError).message).not.toMatch(/[\n\r]/);
      }
    }),
  );
});
