// Ask people as `ask` does in Python: with a form, and two who must approve. docs/reference/wire.md has all that can be asked.

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
    return `${what} is not paid: ${error instanceof Error ? error.message : "nobody answered in time"}`;
  }
}

// A promise with the question in it, and the tags by which those who are asked find it.
function ask(ctx: Context, question: Question, timeout = 30 * DAY_MS) {
  const tags: Record<string, string> = { "hitl:request": "1", "hitl:workflow": ctx.func };
  for (const name of question.to ?? []) tags[`hitl:assignee:${name}`] = "1";
  if ((question.approvals ?? 1) > 1) tags["hitl:quorum"] = "1";
  return ctx.promise<any>({ timeout, data: question, tags });
}

// Who decided, through what and when is in the headers of the settled promise; here it is read in a step.
async function decidedBy(_ctx: Context, id: string): Promise<string | undefined> {
  return (await resonate.promises.get(id)).value.headers?.["hitl:by"];
}

const url = process.env.RESONATE_URL ?? "http://127.0.0.1:8001";
const resonate = new Resonate({ url, group: "typescript", token: process.env.RESONATE_TOKEN });
resonate.register(expense);
console.log(`serving expense for group typescript on ${url}`);
