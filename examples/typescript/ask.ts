// Ask people like `ask` in Python: with a form and two approvals. docs/reference/wire.md lists all fields of a request.

import { type Context, Resonate } from "@resonatehq/sdk/async";

const DAY_MS = 86_400_000;

type Question = { prompt: string; details?: unknown; form?: object; choices?: string[]; to?: string[]; approvals?: number };

async function expense(ctx: Context, what: string, amount: number): Promise<string> {
  const asked = ask(ctx, {
    prompt: `Pay **${amount} €** for ${what}?`,
    form: { type: "object", properties: { amount: { type: "integer", minimum: 1 } }, required: ["amount"] },
    to: ["lead", "finance", "board"],
    approvals: 2,
  });
  try {
    const payment = await asked;
    return `${payment.amount} € paid for ${what}, approved by ${await ctx.run(decidedBy, asked.id)}`;
  } catch (error) {
    return `${what} is not paid: ${error instanceof Error ? error.message : "not answered before the deadline"}`;
  }
}

// Create a promise with the question as data, and the tags that list it for the assignees.
function ask(ctx: Context, question: Question, timeout = 30 * DAY_MS) {
  const tags: Record<string, string> = { "hitl:request": "1", "hitl:workflow": ctx.func };
  for (const name of question.to ?? []) tags[`hitl:assignee:${name}`] = "1";
  if ((question.approvals ?? 1) > 1) tags["hitl:quorum"] = "1";
  return ctx.promise<any>({ timeout, data: question, tags });
}

// The headers of the settled promise say who decided, when and how. Read them in a step.
async function decidedBy(_ctx: Context, id: string): Promise<string | undefined> {
  return (await resonate.promises.get(id)).value.headers?.["hitl:by"];
}

const url = process.env.RESONATE_URL ?? "http://127.0.0.1:8001";
const resonate = new Resonate({ url, group: "typescript", token: process.env.RESONATE_TOKEN });
resonate.register(expense);
console.log(`serving expense for group typescript on ${url}`);
