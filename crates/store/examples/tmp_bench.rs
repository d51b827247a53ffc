#![allow(warnings, clippy::all)]
use paramedic_model::*; use paramedic_store::*; use serde_json::json; use std::time::Instant; use std::collections::BTreeMap;
fn at(s:i64)->Timestamp{Timestamp::from_secs(1_700_000_000+s)}
fn incident(n:usize)->Incident{ Incident{ id:Id::of(&json!(n)), number:None, scope:"default".into(), correlation_key:Id::of(&json!(["k",n])), rulebook:"disk".into(), rule:"full".into(), set:Digest::default(), by:vec![json!(format!("host-{n}"))], shadow:false, state:IncidentState::New, summary:"disk full on host".into(), impact:Level::High, urgency:Level::Medium, severity:Severity::Major, assigned_to:None, category:None, ci:Some(Id::of(&json!(["ci",n]))), about:Some(format!("host-{n}")), opened_at:at(0), updated_at:at(0), acknowledged:None, resolved_at:None, close_code:None, close_notes:None, reopen_count:0, alerts:vec![AlertKey{source:"z".into(),dedup_key:format!("host-{n}/disk")}], event:None, matched:0, condition_at:at(0), plan:Plan::default(), evidence:None, paged_at:None } }
fn main(){
 let dir=std::env::args().nth(1).unwrap(); let keys:usize=std::env::args().nth(2).unwrap().parse().unwrap(); let batches:usize=std::env::args().nth(3).unwrap().parse().unwrap();
 let _=std::fs::remove_dir_all(&dir);
 let p=std::path::PathBuf::from(&dir).join("s.db");
 let store=SqliteStore::open(&p).unwrap();
 if let Ok(sql)=std::env::var("SQL"){ let c=rusqlite::Connection::open(&p).unwrap(); c.execute_batch(&sql).unwrap(); }
 let img=store.load_shard(0).unwrap();
 let mut head=ScopeHead::default(); let mut batchno=0;
 let mut incs:Vec<Incident>=(0..keys).map(incident).collect();
 let mut spent=std::time::Duration::ZERO; let mut worst=std::time::Duration::ZERO; let mut cur=0;
 let fill=keys.div_ceil(1000);
 for b in 0..batches+fill {
  if b==fill { println!("fill {keys}: {:?} {:.0}/s", spent, keys as f64/spent.as_secs_f64()); spent=Default::default(); worst=Default::default(); }
  let mut c=ScopeChanges{scope:"default".into(),..Default::default()};
  for _ in 0..1000.min(keys){ let i=&mut incs[cur%keys]; cur+=1; i.matched+=1; i.updated_at=at(b as i64);
   let mut row=HistoryRow{seq:head.last_seq+1,at:at(b as i64),id:Id::of(&json!(cur)),record:i.id,step:"incident_counted".into(),actor:"disk/full@abc".into(),reason:"usage 95 over 90".into(),input:format!("z/{cur}"),data:json!({"matched":i.matched,"value":95.5}),hash:Digest::default()};
   row.hash=row.expected_hash(head.last_hash); head.last_seq+=1; head.last_hash=row.hash; c.history.push(row); c.incidents.push(i.clone()); }
  c.head=head.clone(); batchno+=1;
  let j=JournalRow{shard:0,epoch:img.epoch,batch:batchno,set:Digest::default(),set_after:Digest::default(),floor:at(0),cap:at(0),end:at(0),tick:false,blind:vec![],ranges:BTreeMap::new(),inputs:Running::default(),decisions:Digest::default(),decisions_end:Digest::default()};
  let from=if batchno==1{None}else{Some(batchno as i64-1)};
  let batch=Batch{shard:0,epoch:img.epoch,changes:vec![c],positions:BTreeMap::from([("k/0".to_string(),PositionMove{from,to:Position{next:batchno as i64,last_at:None,last_digest:None}})]),dead_letters:vec![],journal:Some(j)};
  let t=Instant::now(); store.commit(&batch).unwrap(); let e=t.elapsed(); spent+=e; worst=worst.max(e);
 }
 println!("update x1000: {batches} batches {:?} => {:.1} ms/batch, {:.0} incidents+rows/s, worst {:?}", spent, spent.as_secs_f64()*1e3/batches as f64, batches as f64*1000.0/spent.as_secs_f64(), worst);
 let t=Instant::now(); let n=2000; for k in 0..n { batchno+=1; let from=Some(batchno as i64-1);
  let j=JournalRow{shard:0,epoch:img.epoch,batch:batchno,set:Digest::default(),set_after:Digest::default(),floor:at(0),cap:at(0),end:at(0),tick:false,blind:vec![],ranges:BTreeMap::new(),inputs:Running::default(),decisions:Digest::default(),decisions_end:Digest::default()};
  store.commit(&Batch{shard:0,epoch:img.epoch,changes:vec![],positions:BTreeMap::from([("k/0".to_string(),PositionMove{from,to:Position{next:batchno as i64,last_at:None,last_digest:None}})]),dead_letters:vec![],journal:Some(j)}).unwrap(); }
 println!("small commits: {:.0}/s", n as f64/t.elapsed().as_secs_f64());
 let t=Instant::now(); for k in 0..n { store.inbox_append(&[NewInbox{id:format!("{k}"),scope:"default".into(),at:at(0),body:InboxBody::RulebooksPublished(Digest::default())}]).unwrap(); }
 println!("inbox appends: {:.0}/s", n as f64/t.elapsed().as_secs_f64());
 let t=Instant::now(); let c=store.counts().unwrap(); println!("counts {:?} history {}", t.elapsed(), c.history);
 let t=Instant::now(); let a=store.audit().unwrap(); println!("audit {:?} {} rows {:.0}/s broken {}", t.elapsed(), a.rows, a.rows as f64/t.elapsed().as_secs_f64(), a.broken.len());
 drop(store); let t=Instant::now(); let store=SqliteStore::open(&p).unwrap(); println!("open {:?}, file {} MB", t.elapsed(), std::fs::metadata(&p).unwrap().len()>>20);
 let t=Instant::now(); let i=store.load_shard(0).unwrap(); println!("load {:?} {} incidents", t.elapsed(), i.scopes[0].incidents.len());
}
