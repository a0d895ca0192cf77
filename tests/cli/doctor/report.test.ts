import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import * as v from "valibot";
import { UsageError } from "../../../src/base/errors.ts";
import { type Check, GROUPS, NotApplicable, ok, warning } from "../../../src/cli/doctor/check.ts";
import { Context } from "../../../src/cli/doctor/context.ts";
import { parseDoctorOptions } from "../../../src/cli/doctor/options.ts";
import { CHECKS } from "../../../src/cli/doctor/registry.ts";
import { makeReport, Report } from "../../../src/cli/doctor/report.ts";
import { type Result, runChecks } from "../../../src/cli/doctor/runner.ts";
import { findSettings } from "../../../src/cli/doctor/settings.ts";
import { reportText, wrap } from "../../../src/cli/doctor/text.ts";
import { wantsColours } from "../../../src/cli/table.ts";
import { KernelError } from "../../../src/ffi/errors.ts";

const ABOUT = { version: "1", configuration: { from: "x", leaseSource: null } };
const result = (status: Result["status"], change: Partial<Result> = {}): Result => ({
  ...{ group: "Kernel", check: "x", message: "a message", durationMs: 1 },
  status,
  ...change,
});

describe("the exit code follows the worst", () => {
  test.each<[Result["status"][], number, string]>([
    [[], 0, "ok"],
    [["ok", "skipped"], 0, "ok"],
    [["skipped"], 0, "ok"],
    [["ok", "warning"], 1, "warning"],
    [["warning", "error", "ok"], 3, "error"],
  ])("%j: %p", (statuses, code, worst) => {
    const { report, exitCode } = makeReport(
      ABOUT,
      statuses.map((status) => result(status)),
    );
    expect([exitCode, report.worst]).toEqual([code, worst as Report["worst"]]);
    expect(v.parse(Report, JSON.parse(JSON.stringify(report)))).toEqual(report);
  });
});

describe("as text", () => {
  test("by group, with a summary at the end", () => {
    const { report } = makeReport(ABOUT, [
      result("ok", { group: "CNI", check: "last" }),
      result("error", { check: "first", message: "something is wrong", fix: "do this\nand that" }),
    ]);
    expect(reportText(report, false)).toBe(
      [
        "Configuration: x; lease source: not known",
        "",
        "Kernel",
        "  error    first: something is wrong",
        "           fix: do this",
        "                and that",
        "",
        "CNI",
        "  ok       last: a message",
        "",
        "1 error, 0 warnings, 1 ok, 0 skipped",
        "",
      ].join("\n"),
    );
  });

  test("colours only where they are wanted", () => {
    const { report } = makeReport(ABOUT, [result("error", { fix: "x" })]);
    expect(reportText(report, true)).toContain("\x1b[31merror   \x1b[0m");
    expect(reportText(report, false)).not.toContain("\x1b");
    expect(wantsColours({ isTTY: true }, {})).toBe(true);
    expect(wantsColours({ isTTY: true }, { NO_COLOR: "1" })).toBe(false);
    expect(wantsColours({ isTTY: true }, { TERM: "dumb" })).toBe(false);
    expect(wantsColours({}, {})).toBe(false);
  });

  test("no line is wider than 80 columns unless a word is, and no word gets lost", () => {
    const words = fc.array(fc.stringMatching(/^[a-z]{1,30}$/), { minLength: 1, maxLength: 60 });
    fc.assert(
      fc.property(words, fc.integer({ min: 0, max: 20 }), fc.integer({ min: 0, max: 20 }), (list, first, next) => {
        const lines = wrap(list.join(" "), first, next);
        expect(lines.every((line) => line.length <= 80)).toBe(true);
        expect(lines.join(" ").trim().split(/ +/)).toEqual(list);
      }),
    );
  });
});

describe("the checks", () => {
  const check = (name: string, find: Check["find"]): Check => ({ group: "Kernel", name, find });
  const context = async () => {
    const { options } = parseDoctorOptions([]);
    return new Context(await findSettings(["--debug-addr=off"], {}), options, AbortSignal.timeout(5_000));
  };

  test("have names of their own, and their groups follow each other", () => {
    const names = CHECKS.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    const groups = CHECKS.map(({ group }) => GROUPS.indexOf(group));
    expect(groups).toEqual(groups.toSorted((a, b) => a - b));
  });

  test("one that breaks, hangs, does not apply or lacks rights leaves the others as they are", async () => {
    const checks = [
      check("fine", () => [ok("it is")]),
      check("breaks", () => {
        throw new TypeError("x is not a function");
      }),
      check("hangs", () => new Promise(() => {})),
      check("elsewhere", async () => {
        throw new NotApplicable("not here");
      }),
      check("powerless", () => {
        throw new KernelError("list", "the chains", 1);
      }),
      check("late", async () => [warning("it is", "wait")]),
    ];
    const results = await runChecks(checks, await context(), 200);
    expect(results.map(({ check: name, status, message }) => `${name}: ${status}: ${message}`)).toEqual([
      "fine: ok: it is",
      "breaks: error: the check itself failed: x is not a function",
      "hangs: error: the check itself failed: no result within 0.2 s",
      "elsewhere: skipped: not here",
      "powerless: skipped: list the chains: EPERM: needs root; run it with sudo",
      "late: warning: it is",
    ]);
  });
});

describe("the command line", () => {
  test("own options and the agent's flags are told apart", () => {
    const args = [
      "--iface",
      "eth1",
      "-o",
      "json",
      "--cni-bin-dir=/x",
      "-kube-subnet-mgr",
      "--host-root",
      "/host",
      "--timeout=3",
    ];
    const { options, agentArgs } = parseDoctorOptions(args);
    expect(options).toEqual({
      output: "json",
      "cni-conf-dir": undefined,
      "cni-bin-dir": "/x",
      "host-root": "/host",
      timeout: 3,
      help: false,
    });
    expect(agentArgs).toEqual(["--iface", "eth1", "-kube-subnet-mgr"]);
  });

  test.each([[["--timeout=0"]], [["-o"]], [["--cni-bin-dir="]]])("%j is refused", (args) => {
    expect(() => parseDoctorOptions(args)).toThrow(UsageError);
  });

  test.each<[string[], Record<string, string>, string | undefined]>([
    [["--kube-subnet-mgr"], {}, "kubernetes"],
    [["--lease-store=/x"], {}, "embedded"],
    [["--etcd-endpoints=http://127.0.0.1:1"], {}, "etcd"],
    [["--iface=eth0"], {}, undefined],
    [["--iface=eth0"], { FLANNELD_KUBE_SUBNET_MGR: "true" }, "kubernetes"],
  ])("flags %j with %j: leases in %p", async (args, environment, leaseSource) => {
    const settings = await findSettings([...args, "--debug-addr=off"], environment);
    expect(settings.leaseSource as string | undefined).toBe(leaseSource);
    expect(settings.from).toBe("the flags given here");
  });
});
