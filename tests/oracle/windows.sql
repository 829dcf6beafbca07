-- Features that are counted over a window of n days, (as_of-n, as_of], one row per customer and n.
with recursive
rates as (select currency, rate_on, rate from fx_rates where known_on <= $as_of),
items as (
    select i.*, case when i.currency = $reporting then 1.0 else r.rate end as rate, $as_of - i.issued_on as age
    from invoices i asof left join rates r on i.currency = r.currency and i.issued_on >= r.rate_on
    where i.known_on <= $as_of
),
settled as (  -- everything that lowers a balance, in the order it happened
    select p.invoice_id, p.paid_on as day, 0 as place, p.seq, p.kind, p.amount
    from payments p where p.known_on <= $as_of
    union all
    select w.invoice_id, w.written_off_on, 1, w.seq, 'write_off', w.amount
    from write_offs w where w.known_on <= $as_of
),
followed as (
    select s.*, i.customer_id, i.rate, i.due_on, i.amount as item_amount, $as_of - s.day as age,
           round(i.amount - sum(s.amount) over (partition by s.invoice_id order by s.day, s.place, s.seq), 6) as left_over,
           greatest(date_diff('day', i.due_on, s.day), 0) as dbt
    from settled s join items i using (invoice_id)
),
promised as (  -- the oldest first; promises of one day are a plan, and take money until its last day
    select m.*, i.customer_id, row_number() over (partition by m.invoice_id order by promised_on, pay_by, m.seq) as n,
           max(pay_by) over (partition by m.invoice_id, promised_on) as takes_until
    from promises m join items i using (invoice_id) where m.known_on <= $as_of
),
meetings as (  -- each payment meets the promises that take it, one after the other
    select p.invoice_id, m.n, p.paid_on, p.paid_on <= m.pay_by as is_in_time, p.amount as paid,
           row_number() over (partition by p.invoice_id order by p.paid_on, p.seq, m.n) as step,
           m.n = min(m.n) over (partition by p.invoice_id, p.paid_on, p.seq) as is_first
    from payments p join promised m using (invoice_id)
    where p.kind = 'payment' and p.known_on <= $as_of and p.paid_on between m.promised_on and m.takes_until
),
shared_out as (
    select invoice_id, 0::bigint as step, 0::bigint as n, false as is_in_time, 0.0::double as money, list(amount order by n) as missing
    from promised group by invoice_id
    union all
    select m.invoice_id, m.step, m.n, m.is_in_time,
           case when m.is_first then m.paid else s.money end - least(case when m.is_first then m.paid else s.money end, s.missing[m.n]),
           list_transform(s.missing, lambda lacks, k: case when k = m.n
               then lacks - least(case when m.is_first then m.paid else s.money end, lacks) else lacks end)
    from shared_out s join meetings m on m.invoice_id = s.invoice_id and m.step = s.step + 1
),
kept as (select distinct invoice_id, n from shared_out where is_in_time and missing[n] < 1e-6),
broken_ones as (
    select p.customer_id, $as_of - p.pay_by as age from promised p anti join kept using (invoice_id, n) where p.pay_by < $as_of
),
windows as (select unnest([30, 90, 180, 365]) as n),
people as (select customer_id, n from customers, windows where known_on <= $as_of),
issued as (
    select customer_id, n, count(*) as invoice_count, sum(amount * rate) as invoiced_amount,
           sum(amount * rate * greatest(date_diff('day', issued_on, due_on), 0)) / sum(amount * rate) as terms_days_mean
    from items, windows where age < n group by all
),
paid as (
    select customer_id, n, sum(amount * rate) as paid_amount, sum(amount * rate * dbt) / sum(amount * rate) as dbt_days_mean,
           max(dbt) as dbt_days_max, coalesce(sum(amount * rate) filter (dbt > 0), 0) / sum(amount * rate) as share_late,
           avg((left_over > 0)::int) as partial_payment_share, avg(amount / item_amount) as payment_size_mean
    from followed, windows where kind = 'payment' and age < n group by all
),
credited as (
    select customer_id, n, sum(amount * rate) as credited from followed, windows
    where kind = 'credit_note' and age < n group by all
),
lost as (
    select customer_id, n, sum(least(amount, greatest(left_over + amount, 0)) * rate) as written_off_amount
    from followed, windows where kind = 'write_off' and age < n group by all
),
disputed as (
    select i.customer_id, n, count(*) as disputes from disputes d join items i using (invoice_id), windows
    where d.known_on <= $as_of and $as_of - d.opened_on < n group by all
),
broken as (select customer_id, n, count(*) as broken_promises from broken_ones, windows where age < n group by all)
select customer_id, n, coalesce(invoice_count, 0) as invoice_count, coalesce(invoiced_amount, 0) as invoiced_amount,
       coalesce(paid_amount, 0) as paid_amount, dbt_days_mean, dbt_days_max, share_late, terms_days_mean,
       partial_payment_share, payment_size_mean, coalesce(credited, 0) / invoiced_amount as credit_note_share,
       coalesce(written_off_amount, 0) as written_off_amount, coalesce(disputes, 0) as disputes,
       coalesce(broken_promises, 0) as broken_promises
from people
left join issued using (customer_id, n) left join paid using (customer_id, n) left join credited using (customer_id, n)
left join lost using (customer_id, n) left join disputed using (customer_id, n) left join broken using (customer_id, n)
